"""An original database is adopted while its batches are in flight, and is traded on.

The service itself writes the history, on the sandbox's ledger; it is exported into the original's
tables, adopted by the command, and taken to its end by a real worker.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from devstack.configured import Postgres, Redis
from devstack.environment import service_environment
from devstack.ports import free_port
from devstack.processes import WORKER_READY, SupervisedProcess, entry_point, says
from devstack.stack import peers_environment
from origin.app import create_app
from origin.keys.sealing import access_token_context, refresh_token_context
from origin.runtime import build_runtime
from tests.support.adopted import sign_as_original
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, Market
from tests.support.original_database import OriginalDatabase, exported
from tests.support.waiting import eventually

_IN_FLIGHT = (
    "executed",
    "executed, and the handle was lost",
    "not known to the ledger",
    "never posted",
    "refused",
    "pending",
    "not on the ledger",
)


class History:
    """What the original service did: one GGO of 1000 Wh in each hour."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.ledger = market.sandbox.ledger
        self.sources: dict[str, str] = {}

    def write(self) -> None:
        """Write ended batches, and then one in flight of each kind."""
        bob = [(300, "bob")]
        self.compose("split", transfers=bob, retires=[(50, CONSUMPTION)])
        self.compose("whole", retires=[(1000, CONSUMPTION)])
        self.market.settle()
        self.ledger.refuse_next()
        self.compose("declined", transfers=bob)
        self.market.settle()
        self.compose("never sent", transfers=bob)
        self.market.rows(
            "UPDATE batches SET state = 'COMPLETED', submitted_at = now(), ended_at = now(), "
            "next_attempt_at = NULL WHERE ended_at IS NULL"
        )
        self.market.rows("UPDATE ggos SET locked = false")
        for kind in _IN_FLIGHT:
            self.leave_in_flight(kind)

    def compose(
        self,
        name: str,
        *,
        transfers: Sequence[tuple[int, str]] = (),
        retires: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Issue a GGO in the next hour, and compose it."""
        begin = self.market.hour(len(self.sources))
        self.market.consume(amount=1000, begin=begin)
        self.sources[name] = self.market.issue(1000, begin=begin)
        answer = self.market.compose(self.sources[name], transfers=transfers, retires=retires)
        assert answer.status_code == 200, answer.text

    def leave_in_flight(self, kind: str) -> None:
        """Compose a GGO, and bring its batch as far as the kind says."""
        self.compose(kind, transfers=[(300, "bob")], retires=[(50, CONSUMPTION)])
        original = sign_as_original(self.market, self.market.value("SELECT max(id) FROM batches"))
        handle: str | None = original.id
        if kind == "refused":
            self.ledger.refuse_next(message="Not on my watch")
        if kind == "pending":
            self.ledger.drop_next()
        if kind not in {"not known to the ledger", "never posted", "not on the ledger"}:
            count = len(self.ledger.batches()) + 1
            self.market.runtime.ledger.post(original.batch_list)
            self.ledger.batches(count=count, wait=10)
        if kind == "pending":
            self.ledger.pretend(original.id, "PENDING")
        if kind in {"executed, and the handle was lost", "never posted", "not on the ledger"}:
            handle = None
        self.market.rows(
            "UPDATE batches SET ledger_batch_id = :id, signed_batch = CASE WHEN :id IS NULL "
            "THEN NULL ELSE 'x'::bytea END, state = CASE WHEN :id IS NULL THEN 'PENDING' "
            "ELSE 'SUBMITTED' END WHERE id = (SELECT max(id) FROM batches)",
            id=handle,
        )


@pytest.fixture
def history(market: Market) -> History:
    history = History(market)
    history.write()
    return history


@pytest.fixture
def target_uri(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """A second database beside the market's."""
    name = f"test_target_{os.getpid()}"
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)


@pytest.fixture
def target(history: History, target_uri: str) -> Iterator[Market]:
    """The same users and peers, with a database that holds the original's tables in a schema."""
    source = history.market
    uri = source.settings.database_uri.get_secret_value().replace("+psycopg2", "")
    original = exported(uri, source.runtime.sealer)
    export_tokens(source, original)
    for batch in source.rows("SELECT id, ggo_id FROM batches WHERE state = 'DECLINED'"):
        # Of a declined batch the original kept the transaction, which we delete.
        original.add(
            "ledger_transaction",
            order=0,
            type="split",
            batch_id=batch.id,
            parent_ggo_id=batch.ggo_id,
            begin=None,
            meteringpoint_id=None,
            measurement_address=None,
        )
    original.write(target_uri.replace("+psycopg2", ""), schema="original")
    made = object.__new__(Market)
    vars(made).update(vars(source))
    changed = {**vars(source.settings), "database_uri": target_uri}
    made.settings = type(source.settings).of(changed)
    made.app = create_app(made.settings)
    made.use(build_runtime(made.settings, made.wakeups))
    yield made
    made.runtime.database.dispose()


def export_tokens(source: Market, original: OriginalDatabase) -> None:
    """Put the users' tokens into the original's table, in clear, as they stood there."""
    for user in original.rows["auth_user"]:
        [row] = source.rows("SELECT * FROM users WHERE id = :id", id=user["id"])
        unseal = source.runtime.sealer.open
        user["access_token"] = unseal(row.access_token, access_token_context(row.subject))
        user["refresh_token"] = unseal(row.refresh_token, refresh_token_context(row.subject))
        user["token_expire"] = row.token_expires_at


@pytest.fixture
def environment(target: Market, valkey: Redis) -> dict[str, str]:
    """The variables of the target's processes."""
    return service_environment(
        database_uri=target.settings.database_uri.get_secret_value(),
        redis=valkey,
        peers=peers_environment(target.sandbox.urls),
        port=free_port(),
        changes={"SECRET": target.settings.secret.get_secret_value(), "METRICS_PORT": "0"},
    )


def states(market: Market, history: History) -> dict[str, str]:
    """Return the state of each GGO's latest batch."""
    found = market.rows(
        "SELECT address, state FROM batches JOIN ggos ON ggos.id = ggo_id ORDER BY batches.id"
    )
    by_address = {row.address: row.state for row in found}
    return {name: by_address[address] for name, address in history.sources.items()}


def differences(market: Market) -> list[tuple[str, str]]:
    """Reconcile everything; return kind and address of each difference."""
    for _ in market.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        pass
    found = market.runtime.reconciliation.open_differences()
    return sorted((each.kind, each.address) for each in found)


# The original's market has a database of its own: the module's is adopted into.
@pytest.mark.usefixtures("database_uri")
def test_an_adopted_database_is_taken_to_its_end_and_traded_on(
    history: History, target: Market, environment: dict[str, str], tmp_path: Path
):
    ledger = target.sandbox.ledger
    absent = history.sources["not on the ledger"]
    ledger.fault(f"/state/{absent}", status=404, code=75, times=None)
    adopted = target.app.test_cli_runner().invoke(args=["adopt", "--schema", "original"])
    assert adopted.exit_code == 0, adopted.output
    processes = [
        SupervisedProcess(
            name, entry_point(name, environment), env=environment, logs=tmp_path, ready=ready
        )
        for name, ready in (("worker", WORKER_READY), ("beat", says(r"beat: Starting")))
    ]
    with processes[0], processes[1]:
        waiting = {"pending": "SUBMITTED", "not on the ledger": "PENDING"}
        first = {
            **dict.fromkeys(history.sources, "COMPLETED"),
            "declined": "DECLINED",
            "refused": "DECLINED",
        }
        eventually(lambda: states(target, history) == first | waiting, "the ledger decides")
        told = "SELECT address FROM ledger_differences WHERE resolved_at IS NULL"
        eventually(lambda: target.rows(told) == [(absent,)], "the absent source is reported")
        # The validator restarts, and the source is published.
        ledger.forget()
        ledger.clear_faults()
        eventually(lambda: states(target, history) == first, "the rest is decided, too")
        unsent = target.value("SELECT address FROM ggos WHERE never_sent AND amount = 300")
        rejected = target.compose(unsent, transfers=[(1, "alice")], subject="bob")
        assert rejected.status_code == 400
        assert rejected.json["message"] == f"GGO not found or is unavailable: {unsent}"
        for address in trade_on(target, history):
            eventually(
                lambda address=address: (
                    target.value(
                        "SELECT state FROM batches JOIN ggos ON ggos.id = ggo_id "
                        "WHERE address = :address ORDER BY batches.id DESC LIMIT 1",
                        address=address,
                    )
                    == "COMPLETED"
                ),
                "an adopted GGO is composed",
            )
    assert {kind for kind, _ in differences(target)} == {"never_sent"}
    assert len(differences(target)) == 3
    check_balances(target)


def trade_on(market: Market, history: History) -> list[str]:
    """Compose GGOs that were adopted, taken over and rolled back; return their addresses."""
    received = market.rows(
        "SELECT address, begin FROM ggos WHERE amount = 300 AND stored AND NOT never_sent "
        "ORDER BY begin"
    )
    for row in received:
        market.consume(gsrn=BOBS_CONSUMPTION, amount=300, begin=row.begin)
        answer = market.compose(row.address, retires=[(300, BOBS_CONSUMPTION)], subject="bob")
        assert answer.status_code == 200, answer.text
    for name in ("declined", "refused"):
        answer = market.compose(history.sources[name], transfers=[(400, "bob")])
        assert answer.status_code == 200, answer.text
    return [row.address for row in received] + [
        history.sources[name] for name in ("declined", "refused")
    ]


def check_balances(market: Market) -> None:
    """Check the sums: eleven GGOs of 1000 Wh were issued, and nothing was lost or made."""
    # Retired by Alice: one GGO as a whole, and 50 Wh of one ended and five taken-over batches.
    # Bob retired 300 Wh of each of these six; he has 300 Wh that were never sent, and twice 400 Wh.
    assert market.total("alice", category="issued") == 11_000
    assert market.total("alice", category="retired") == 1000 + 7 * 50
    assert market.total("bob", category="retired") == 7 * 300
    assert market.total("bob", category="stored") == 300 + 2 * 400
    assert market.total("alice", category="stored") == 7 * 650 + 700 + 2 * 600
    totals = [
        market.total(who, category=c) for who in ("alice", "bob") for c in ("stored", "retired")
    ]
    assert sum(totals) == 11_000
