"""A service with two trading users, a real database, and all of the sandbox's peers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.test import TestResponse

from sandbox.running import Sandbox
from tests.support.world import Peer, World

BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)
PRODUCTION, CONSUMPTION, OTHER_CONSUMPTION = "571313180400000012", "571313180400000029", "5713131"
BOBS_CONSUMPTION = "571313180400000099"


class Market(World):
    """Alice produces and consumes; Bob consumes. Batches and jobs run only when a test calls for it.

    `begin`: the hour that methods use by default.
    """

    def __init__(self, database_uri: str, sandbox: Sandbox, **settings: Any) -> None:
        super().__init__(
            database_uri,
            Peer(sandbox.urls["hydra"]),
            Peer(sandbox.urls["datahub"]),
            **{"ledger_url": sandbox.urls["ledger"], **settings},
        )
        self.sandbox = sandbox
        self.begin = BEGIN
        for subject, gsrn, kind in (
            ("alice", PRODUCTION, "production"),
            ("alice", CONSUMPTION, "consumption"),
            ("alice", OTHER_CONSUMPTION, "consumption"),
            ("bob", BOBS_CONSUMPTION, "consumption"),
        ):
            sandbox.datahub.add_meteringpoint(subject, gsrn, kind, webhooks="none")
        self.alice, self.bob = self.new_user("alice"), self.new_user("bob")
        while self.run_jobs():
            pass
        self.tokens = {subject: self.token(subject) for subject in ("alice", "bob")}

    def issue(self, amount: int = 1000, begin: datetime | None = None, **fields: Any) -> str:
        """Issue a GGO to Alice, send the webhook to the service, and return its address."""
        codes = {"technologyCode": "T020001", "fuelCode": "F01050100"}
        fields = {**codes, **fields}
        ggo = self.sandbox.datahub.issue(
            PRODUCTION, begin or self.begin, amount, webhooks="none", **fields
        )
        answer = self.webhook("on-ggo-issued", {"sub": "alice", "ggo": ggo})
        assert answer.json == {"success": True}, answer.text
        return str(ggo["address"])

    def consume(
        self, gsrn: str = CONSUMPTION, amount: int = 1000, begin: datetime | None = None
    ) -> str:
        """Publish a measurement, and return its address."""
        return str(self.sandbox.datahub.publish(gsrn, begin or self.begin, amount)["address"])

    def compose(
        self,
        address: str,
        *,
        transfers: Sequence[tuple[int, str]] = (),
        retires: Sequence[tuple[int, str]] = (),
        subject: str = "alice",
        **headers: str,
    ) -> TestResponse:
        """Compose through the API: transfers are (amount, account), retires (amount, gsrn)."""
        body = {
            "address": address,
            "transfers": [
                {"amount": amount, "account": account, "reference": f"ref {place}"}
                for place, (amount, account) in enumerate(transfers)
            ],
            "retires": [{"amount": amount, "gsrn": gsrn} for amount, gsrn in retires],
        }
        return self.post("/ggo/compose", body, self.tokens[subject], **headers)

    def total(self, subject: str, **filters: Any) -> int:
        """Return a total of the API, in Wh."""
        answer = self.post("/ggo/get-total-amount", {"filters": filters}, self.tokens[subject])
        assert answer.status_code == 200, answer.text
        return int(answer.json["amount"])

    def amounts(self, subject: str, **filters: Any) -> list[int]:
        """Return the amounts of the GGOs that the API lists: those committed, by begin and age."""
        answer = self.post("/ggo", {"filters": filters}, self.tokens[subject])
        assert answer.status_code == 200, answer.text
        return [ggo["amount"] for ggo in answer.json["results"]]

    def run_batches(self) -> int:
        """Take one step with every batch that has not ended, due or not."""
        self.rows("UPDATE batches SET next_attempt_at = now() WHERE ended_at IS NULL")
        return self.runtime.batch_runner.run_due()

    def settle(self) -> None:
        """Take every batch to the ledger until it ends."""
        for _ in range(10):
            if not self.run_batches():
                return
            self.sandbox.ledger.batches(wait=10)
        raise AssertionError(self.batches())

    def batches(self) -> list[tuple[str, str | None]]:
        """Return state and last error of each batch, oldest first."""
        return [
            tuple(row) for row in self.rows("SELECT state, last_error FROM batches ORDER BY id")
        ]

    def snapshot(self) -> dict[str, list[Any]]:
        """Return all rows of the tables that a compose may change."""
        tables = ("users", "ggos", "batches", "transactions", "idempotency_keys")
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables}  # noqa: S608

    def hour(self, number: int) -> datetime:
        """Return the begin of another hour."""
        return self.begin + timedelta(hours=number)
