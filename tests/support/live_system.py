"""A running service with its peers, and households in front of it: all by the wire."""

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
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.database import rows
from tests.support.lost_data import LostData
from tests.support.waiting import eventually

FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
_WIND = {"technologyCode": "T020001", "fuelCode": "F01050100"}

# Every wait as short as it can be: what is tested is that the right thing happens, not when.
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
    """The begin of the n-th hour of these tests."""
    return FIRST_HOUR + timedelta(hours=number)


def new_gsrn() -> str:
    """A metering point's number that nobody has."""
    return "5713131" + f"{secrets.randbelow(10**11):011}"


@dataclass(frozen=True, slots=True)
class Household:
    """A user with a production and a consumption point, whose keys DataHub has."""

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
        """The body of a compose: Wh to others, and Wh to the own consumption."""
        return {
            "address": address,
            "transfers": [
                {"amount": wh, "reference": f"for {to.subject}", "account": to.subject}
                for wh, to in transfers
            ],
            "retires": [{"amount": wh, "gsrn": self.consumption} for wh in retires],
        }

    def compose(self, address: str, **parts: Any) -> Response:
        """A compose by HTTP, whatever its answer."""
        return self.api.request("/ggo/compose", self.order(address, **parts))

    def stored(self) -> list[dict[str, Any]]:
        """What the API lists as stored and in step with the ledger."""
        return self.api.ggos(category="stored")


class LiveSystem:
    """The service's processes, the peers, and whoever lives there.

    `redis`: its server. `lost_data`: of databases that went back in time.
    """

    def __init__(self, stack: Stack, database_uri: str, redis: Redis) -> None:
        self.stack = stack
        self.database_uri = database_uri
        self.redis = redis
        self.lost_data = LostData()
        self._more_workers: list[SupervisedProcess] = []
        self._clients = ExitStack()

    def close(self) -> None:
        """Shut the clients' connections."""
        self._clients.close()

    def client(self, token: str) -> ApiClient:
        """A client of the API, on a connection of its own."""
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
        """Web, worker, beat, and another worker where there is one."""
        return (*self.services.all, *self._more_workers)

    @contextmanager
    def another_worker(self, logs: Path) -> Iterator[SupervisedProcess]:
        """A second one, which takes over what the first has claimed and doesn't do."""
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
        """Rows of the service's database."""
        return rows(self.database_uri, sql, *parameters)

    def log_in(self, name: str) -> tuple[str, ApiClient]:
        """A new user by the OAuth code flow: its subject, and a client with its token."""
        subject = f"{name}-{secrets.token_hex(4)}"
        url = self.stack.url
        with closing(Browser()) as browser:
            assert browser.log_in(url, subject, f"{url}/home") == {"success": "1"}
            return subject, self.client(self.stack.oauth.token(browser, subject))

    def log_in_again(self, subject: str) -> None:
        """A user who has an account logs in, so that the service has fresh tokens."""
        url = self.stack.url
        with closing(Browser()) as browser:
            assert browser.log_in(url, subject, f"{url}/home") == {"success": "1"}

    def wait_for_web(self) -> None:
        """Wait until the web answers, however often it has to be started."""
        eventually(self._is_alive, "the web answers", within=60)

    def _is_alive(self) -> bool:
        try:
            return requests.get(f"{self.stack.url}/health/live", timeout=5).ok
        except requests.RequestException:
            return False

    def another_session(self, home: Household) -> Household:
        """The same household with another token, on another connection."""
        return replace(home, api=self.client(self.sandbox.hydra.tokens(home.subject).access))

    def wait_until_subscribed(self, subject: str) -> None:
        """Wait until DataHub knows where this user's webhooks go."""
        eventually(
            lambda: (
                sum(each["sub"] == subject for each in self.sandbox.datahub.subscriptions()) == 2
            ),
            f"two subscriptions of {subject}",
        )

    def household(self, name: str) -> Household:
        """Log a new user in, give it two metering points, and wait for their keys."""
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
        """Several of them."""
        return [self.household(name) for name in names]

    def with_new_production_point(self, home: Household) -> Household:
        """The same household, with its production at a new metering point."""
        gsrn = new_gsrn()
        self.add_point(home.subject, gsrn, "production")
        assert self.sandbox.datahub.keys(gsrn, wait=30)[gsrn]
        return replace(home, production=gsrn)

    def add_point(self, subject: str, gsrn: str, kind: str, **how: Any) -> None:
        """Register a metering point at DataHub, which tells the service."""
        codes = _WIND if kind == "production" else {}
        self.sandbox.datahub.add_meteringpoint(subject, gsrn, kind, **codes, **how)

    def issue(self, home: Household, number: int, amount: int) -> str:
        """Issue a GGO of the n-th hour by webhook; its address, once the API lists it."""
        ggo = self.sandbox.datahub.issue(home.production, hour(number), amount)
        address = str(ggo["address"])
        eventually(lambda: home.api.ggos(address=[address]), f"GGO {address} in the list")
        return address

    def publish_consumption(self, home: Household, number: int, amount: int) -> None:
        """Publish what the household consumed in the n-th hour."""
        self.sandbox.datahub.publish(home.consumption, hour(number), amount)

    def wait_for_fault(self, peer: Control) -> None:
        """Wait until the fault of a peer strikes; it must be one that isn't used up by that."""
        eventually(lambda: any(fault["struck"] for fault in peer.faults()), "the fault strikes")

    def wait_until_settled(self, within: float = 45) -> None:
        """Wait until every batch has ended.

        Nothing here holds a POST up any more: those without an answer count as ten minutes old.
        """
        unfinished = (
            "UPDATE batches SET last_post_at = now() - interval '1 hour' WHERE ended_at IS NULL "
            "RETURNING id, state, attempts, posts, refused_posts, last_error"
        )
        eventually(lambda: not self.rows(unfinished), "every batch has ended", within=within)

    def audit(self) -> None:
        """Have the books compared with the ledger."""
        books = read_books(self.database_uri)
        complaints = audit(
            books, read_ledger(self.sandbox.urls["ledger"]), recovered=self.lost_data.recovered
        )
        complaints += self.lost_data.wrong_owners(books.ggos)
        assert not complaints, "\n".join(complaints)

    def subscribe(self, home: Household) -> None:
        """Have what a household receives told to the receiver, at a hook of its own."""
        body = {"url": self.sandbox.receiver.hook(home.subject), "secret": "hook's secret"}
        answer = home.api.request("/webhook/on-ggo-received/subscribe", body)
        assert answer.status_code == 200, answer.text

    def announced_addresses(self, home: Household) -> set[str]:
        """The addresses of the GGOs that a household was told of."""
        told = self.sandbox.receiver.deliveries(home.subject)
        bodies = [each["json"] for each in told]
        assert {body["sub"] for body in bodies} <= {home.subject}
        return {body["ggo"]["address"] for body in bodies}

    def settle_and_audit(self) -> None:
        """Wait until every batch has ended, and have the books audited."""
        self.wait_until_settled()
        self.audit()

    def batch_states(self, address: str) -> list[str]:
        """The states of the batches that spend the GGO at this address, oldest first."""
        found = self.rows(
            "SELECT state FROM batches JOIN ggos ON ggos.id = ggo_id WHERE address = %s "
            "ORDER BY batches.id",
            address,
        )
        return [row["state"] for row in found]

    def clear_faults(self) -> None:
        """Let all peers behave."""
        peers = self.sandbox
        for peer in (peers.ledger, peers.datahub, peers.hydra, peers.receiver):
            peer.clear_faults()
        self.sandbox.ledger.hold(on=False)


@contextmanager
def running_system(
    database_uri: str, redis: Redis, logs: Path, changes: Mapping[str, str] | None = None
) -> Iterator[LiveSystem]:
    """All processes, started at once; the database may be empty."""
    with (
        running_stack(
            database_uri=database_uri, redis=redis, logs=logs, changes={**QUICK, **(changes or {})}
        ) as stack,
        closing(LiveSystem(stack, database_uri, redis)) as system,
    ):
        yield system
