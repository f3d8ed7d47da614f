"""A running service with its peers and users, accessed over HTTP only."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from requests import Response

from devstack.client import ApiClient, Browser
from devstack.configured import Redis
from devstack.processes import WORKER_READY, ServiceProcesses, SupervisedProcess, entry_point
from devstack.stack import Stack, running_stack
from sandbox.clients import Control
from sandbox.running import Peers
from tests.support.accounts_told import PatientReader, told_account
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.auditor_operations import Account, audit_operations
from tests.support.database import rows
from tests.support.lost_data import LostData
from tests.support.waiting import eventually

FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
_WIND = {"technologyCode": "T020001", "fuelCode": "F01050100"}

# Delays as short as possible: these tests check what happens, not when.
QUICK = {
    "SWEEP_INTERVAL": "0.3",
    "LEDGER_POLL_DELAY": "0.2",
    "LEDGER_SUBMIT_RETRY_DELAY": "0.2",
    "DATAHUB_RETRY_DELAY": "0.2",
    "WEBHOOK_RETRY_DELAY": "0.5",
    "LEASE_SECONDS": "2",
    "CONCURRENCY": "20",
}


def hour(number: int) -> datetime:
    """Return the begin of the n-th hour of these tests."""
    return FIRST_HOUR + timedelta(hours=number)


def new_gsrn() -> str:
    """Return a random GSRN."""
    return "5713131" + f"{secrets.randbelow(10**11):011}"


@dataclass(frozen=True, slots=True)
class Household:
    """A user with a production and a consumption metering point, whose keys DataHub has."""

    subject: str
    api: ApiClient
    production: str
    consumption: str

    def order(
        self,
        address: str,
        *,
        transfers: Iterable[tuple[int, "Household"]] = (),
        retires: Iterable[int] = (),
    ) -> dict[str, Any]:
        """Return the body of a compose: Wh to other households, and Wh to retire."""
        return {
            "address": address,
            "transfers": [
                {"amount": wh, "reference": f"for {to.subject}", "account": to.subject}
                for wh, to in transfers
            ],
            "retires": [{"amount": wh, "gsrn": self.consumption} for wh in retires],
        }

    def compose(self, address: str, **parts: Any) -> Response:
        """Compose by HTTP, and return the response."""
        return self.api.request("/ggo/compose", self.order(address, **parts))

    def stored(self) -> list[dict[str, Any]]:
        """Return the stored GGOs that the ledger has confirmed."""
        return self.api.ggos(category="stored")


class LiveSystem:
    """The service's processes, the peers, and the users.

    `lost_data`: what was lost when the database went back in time.
    """

    def __init__(self, stack: Stack, database_uri: str, redis: Redis) -> None:
        self.stack = stack
        self.database_uri = database_uri
        self.redis = redis
        self.lost_data = LostData()
        self._more_workers: list[SupervisedProcess] = []
        self._clients = ExitStack()

    def close(self) -> None:
        """Close the clients' connections."""
        self._clients.close()

    def client(self, token: str) -> ApiClient:
        """Return a client of the API with its own connection."""
        return self._clients.enter_context(closing(ApiClient(self.stack.url, token)))

    @property
    def sandbox(self) -> Peers:
        """The peers."""
        return self.stack.sandbox

    @property
    def services(self) -> ServiceProcesses:
        """Web, worker and beat."""
        return self.stack.services

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Web, worker, beat, and the second worker if there is one."""
        return (*self.services.all, *self._more_workers)

    @contextmanager
    def another_worker(self, logs: Path) -> Iterator[SupervisedProcess]:
        """Run a second worker, which takes over when leases of the first expire."""
        worker = SupervisedProcess(
            "another-worker",
            entry_point("worker", self.stack.environment),
            env={**self.stack.environment, "METRICS_PORT": "0"},
            logs=logs,
            ready=WORKER_READY,
        )
        with worker:
            self._more_workers.append(worker)
            try:
                yield worker
            finally:
                self._more_workers.remove(worker)

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Execute a statement on the service's database, and return its rows."""
        return rows(self.database_uri, sql, *parameters)

    def log_in(self, name: str) -> tuple[str, ApiClient]:
        """Log a new user in by the OAuth code flow; return the subject and an API client."""
        subject = f"{name}-{secrets.token_hex(4)}"
        url = self.stack.url
        with closing(Browser()) as browser:
            assert browser.log_in(url, subject, f"{url}/home") == {"success": "1"}
            return subject, self.client(self.stack.oauth.token(browser, subject))

    def log_in_again(self, subject: str) -> None:
        """Log an existing user in, so that the service gets new tokens."""
        url = self.stack.url
        with closing(Browser()) as browser:
            assert browser.log_in(url, subject, f"{url}/home") == {"success": "1"}

    def wait_for_web(self) -> None:
        """Wait until the web answers."""
        eventually(self._is_alive, "the web answers", within=60)

    def _is_alive(self) -> bool:
        try:
            return requests.get(f"{self.stack.url}/health/live", timeout=5).ok
        except requests.RequestException:
            return False

    def another_session(self, home: Household) -> Household:
        """Return the same household with another token and another connection."""
        return replace(home, api=self.client(self.sandbox.hydra.tokens(home.subject).access))

    def wait_until_subscribed(self, subject: str) -> None:
        """Wait until the service has subscribed to this user's events at DataHub."""
        eventually(
            lambda: (
                sum(each["sub"] == subject for each in self.sandbox.datahub.subscriptions()) == 2
            ),
            f"two subscriptions of {subject}",
        )

    def household(self, name: str) -> Household:
        """Log a new user in, register two metering points, and wait for their keys."""
        subject, api = self.log_in(name)
        self.wait_until_subscribed(subject)
        home = Household(subject, api, new_gsrn(), new_gsrn())
        self.add_point(subject, home.production, "production")
        self.add_point(subject, home.consumption, "consumption")
        keys = self.sandbox.datahub.keys(home.production, home.consumption, wait=30)
        assert keys[home.production]
        assert keys[home.consumption]
        return home

    def households(self, *names: str) -> list[Household]:
        """Create several households."""
        return [self.household(name) for name in names]

    def with_new_production_point(self, home: Household) -> Household:
        """Return the same household with a new production metering point."""
        gsrn = new_gsrn()
        self.add_point(home.subject, gsrn, "production")
        assert self.sandbox.datahub.keys(gsrn, wait=30)[gsrn]
        return replace(home, production=gsrn)

    def add_point(self, subject: str, gsrn: str, kind: str, **how: Any) -> None:
        """Register a metering point at DataHub, which notifies the service."""
        codes = _WIND if kind == "production" else {}
        self.sandbox.datahub.add_meteringpoint(subject, gsrn, kind, **codes, **how)

    def issue(self, home: Household, number: int, amount: int) -> str:
        """Issue a GGO for the n-th hour; return its address once the API lists it."""
        ggo = self.sandbox.datahub.issue(home.production, hour(number), amount)
        address = str(ggo["address"])
        eventually(lambda: home.api.ggos(address=[address]), f"GGO {address} in the list")
        return address

    def publish_consumption(self, home: Household, number: int, amount: int) -> None:
        """Publish the household's consumption (Wh) in the n-th hour."""
        self.sandbox.datahub.publish(home.consumption, hour(number), amount)

    def wait_for_fault(self, peer: Control) -> None:
        """Wait until a call meets a peer's fault, which must have more than one call left."""
        eventually(
            lambda: any(fault["struck"] for fault in peer.faults()), "a call meets the fault"
        )

    def wait_until_settled(self, within: float = 45) -> None:
        """Wait until workers have planned every order, and every batch has ended.

        No POST can be on its way any more, so unanswered ones are dated back by an hour. The batches are
        locked in the order that workers lock them in.
        """
        unfinished = (
            "WITH live AS ("
            "SELECT id FROM batches WHERE ended_at IS NULL ORDER BY id FOR UPDATE"
            ") UPDATE batches SET last_post_at = now() - interval '1 hour' "
            "FROM live WHERE batches.id = live.id "
            "RETURNING batches.id, state, attempts, posts, refused_posts, last_error"
        )
        queued = "SELECT id, attempts, last_error FROM operations WHERE next_attempt_at IS NOT NULL"
        # A planned order makes batches, so the orders come first.
        eventually(lambda: not self.rows(queued), "every order is planned", within=within)
        eventually(lambda: not self.rows(unfinished), "every batch has ended", within=within)

    def audit(self) -> None:
        """Compare the database, and what the API tells, with the ledger; AssertionError if they differ."""
        books, state = read_books(self.database_uri), read_ledger(self.sandbox.urls["ledger"])
        complaints = audit(books, state, recovered=self.lost_data.recovered)
        complaints += self.lost_data.wrong_owners(books.ggos)
        complaints += audit_operations(
            self._told_accounts(), books, state, recovered=self.lost_data.recovered
        )
        assert not complaints, "\n".join(complaints)

    @contextmanager
    def reader(self, subject: str) -> Iterator[PatientReader]:
        """Yield a reader of an account, with a token and a connection of its own."""
        token = self.sandbox.hydra.tokens(subject).access
        with closing(ApiClient(self.stack.url, token)) as api:
            yield PatientReader(api)

    def _told_accounts(self) -> Iterator[Account]:
        for row in self.rows("SELECT subject FROM users WHERE disabled_at IS NULL ORDER BY id"):
            with self.reader(row["subject"]) as reader:
                yield told_account(reader, row["subject"])

    def subscribe(self, home: Household) -> None:
        """Subscribe a household to received GGOs, at its own hook of the receiver."""
        body = {"url": self.sandbox.receiver.hook(home.subject), "secret": "hook's secret"}
        answer = home.api.request("/webhook/on-ggo-received/subscribe", body)
        assert answer.status_code == 200, answer.text

    def announced_addresses(self, home: Household) -> set[str]:
        """Return the addresses of the GGOs that a household got webhooks about."""
        told = self.sandbox.receiver.deliveries(home.subject)
        bodies = [each["json"] for each in told]
        assert {body["sub"] for body in bodies} <= {home.subject}
        return {body["ggo"]["address"] for body in bodies}

    def settle_and_audit(self) -> None:
        """Wait until every batch has ended, and audit the system."""
        self.wait_until_settled()
        self.audit()

    def batch_states(self, address: str) -> list[str]:
        """Return the states of the batches that spend the GGO at this address, oldest first."""
        found = self.rows(
            "SELECT state FROM batches JOIN ggos ON ggos.id = ggo_id WHERE address = %s "
            "ORDER BY batches.id",
            address,
        )
        return [row["state"] for row in found]

    def clear_faults(self) -> None:
        """Clear the faults of all peers."""
        peers = self.sandbox
        for peer in (peers.ledger, peers.datahub, peers.hydra, peers.receiver):
            peer.clear_faults()
        self.sandbox.ledger.hold(on=False)


@contextmanager
def running_system(
    database_uri: str, redis: Redis, logs: Path, changes: Mapping[str, str] | None = None
) -> Iterator[LiveSystem]:
    """Run the peers and the service on a database, which may be empty."""
    with (
        running_stack(
            database_uri=database_uri, redis=redis, logs=logs, changes={**QUICK, **(changes or {})}
        ) as stack,
        closing(LiveSystem(stack, database_uri, redis)) as system,
    ):
        yield system
