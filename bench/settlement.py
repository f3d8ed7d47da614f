"""Measures how fast composes are committed: from the request until the parts are available.

It uses its own database, the sandbox's ledger, which commits at once, one web, one worker, one Beat.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

import requests
from sqlalchemy.engine import make_url

from bench import cpu, load, workload
from bench.dataset import FOLDER, bytes_per_row, connect, secret
from devstack.console import Console
from devstack.databases import create_database, drop_database, with_database
from devstack.environment import service_environment
from devstack.ports import free_port
from devstack.postgres import EmbeddedPostgres
from devstack.processes import ServiceProcesses
from devstack.stack import peers_environment
from devstack.valkey import EmbeddedValkey
from origin.keys.derivation import (
    AddressKind,
    ExtendedKey,
    metering_point_key,
    new_master_key,
    period_key,
)
from origin.keys.sealing import Sealer, master_key_context
from origin.migrate import upgrade
from sandbox.running import Sandbox

USERS = 50
CLIENTS = 16
TARGET_PER_S = 100
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_AT_ONCE = 500
_PATIENCE_S = 300
_DATABASE = "settlement"


@dataclass(frozen=True)
class SettlementRate:
    """How fast composes were committed."""

    name: str
    per_second: float
    worker_ms: float
    """The worker's CPU ms per compose."""


@dataclass(frozen=True)
class _Ggo:
    subject: str
    address: str


def measure(
    postgres: EmbeddedPostgres, count: int, runs: int, console: Console
) -> tuple[list[SettlementRate], float, float]:
    """Compose `count` times in each run: with a running worker, and before the worker is started.

    :returns: The rates of both; the worker's memory afterwards, in MB; and the bytes on disk of a batch
        into two parts, with its operation and its history.
    """
    at_work, backlog = [], []
    with _running_service(postgres, 2 * runs * count, console) as running:
        for run in range(runs):
            at_work.append(running.settle(2 * run * count, count, backlog=False))
            backlog.append(running.settle((2 * run + 1) * count, count, backlog=True))
            console.bar("settlement", run + 1, runs)
        memory = cpu.resident_mb(_pid(running.services.worker.pid))
        batch_bytes = bytes_per_row(
            running.uri, "batches", "batches", "transactions", "batch_events"
        )
    settled = [
        SettlementRate(name, *(statistics.median(values) for values in zip(*found, strict=True)))
        for name, found in (
            ("from compose to committed, 16 clients composing", at_work),
            ("a backlog, the worker alone", backlog),
        )
    ]
    return settled, memory, batch_bytes


@dataclass(frozen=True)
class _RunningService:
    uri: str
    services: ServiceProcesses
    tokens: dict[str, str]
    ggos: list[_Ggo]

    def settle(self, first: int, count: int, *, backlog: bool) -> tuple[float, float]:
        """Return the committed composes per second, and the worker's CPU ms per compose."""
        worker = self.services.worker
        if backlog:
            worker.terminate()
        begun = time.perf_counter()
        before = 0.0 if backlog else cpu.seconds(_pid(worker.pid))
        asked = iter([self._compose(each) for each in self.ggos[first : first + count]])
        port = int(self.services.url.rpartition(":")[2])
        load.exhaust(port, asked, clients=CLIENTS)
        if backlog:
            worker.start()
            before, begun = cpu.seconds(_pid(worker.pid)), time.perf_counter()
        self._wait()
        seconds = time.perf_counter() - begun
        used = cpu.seconds(_pid(worker.pid)) - before
        return count / seconds, 1000 * used / count

    def _compose(self, ggo: _Ggo) -> bytes:
        recipient = f"settler {(int(ggo.address[-6:], 16)) % USERS}"
        return workload.compose(ggo.address, recipient).as_http(self.tokens[ggo.subject])

    def _wait(self) -> None:
        """Wait until no GGO is in flight."""
        deadline = time.monotonic() + _PATIENCE_S
        with connect(self.uri) as connection, connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT pg_sleep(0.02), EXISTS (SELECT FROM ggos WHERE locked)")
                if cursor.fetchone() == ("", False):
                    return
        raise TimeoutError("The composes were not committed in time")


def _pid(pid: int | None) -> int:
    assert pid is not None
    return pid


@contextmanager
def _running_service(
    postgres: EmbeddedPostgres, count: int, console: Console
) -> Iterator[_RunningService]:
    uri = with_database(postgres.uri, _DATABASE)
    drop_database(postgres.uri, _DATABASE)
    create_database(postgres.uri, _DATABASE)
    upgrade(make_url(uri))
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(block_time=0))
        redis = stack.enter_context(EmbeddedValkey())
        environment = service_environment(
            database_uri=uri,
            redis=redis,
            peers=peers_environment(sandbox.urls),
            port=free_port(),
            changes={"SECRET": secret(), "LEASE_SECONDS": "60", "SWEEP_INTERVAL": "10"},
        )
        points = _write_users(uri)
        ggos = list(
            chain.from_iterable(
                _issue(uri, sandbox.urls["ledger"], subject, point, -(-count // USERS), console)
                for subject, point in points.items()
            )
        )
        # Sorted by address, so that the users alternate.
        ggos.sort(key=lambda each: each.address)
        tokens = {subject: sandbox.hydra.tokens(subject).access for subject in points}
        services = stack.enter_context(ServiceProcesses(environment, FOLDER))
        yield _RunningService(uri, services, tokens, ggos)
    drop_database(postgres.uri, _DATABASE)


def _write_users(uri: str) -> dict[str, ExtendedKey]:
    """Insert users with a production metering point each; return the points' keys."""
    sealer, points = Sealer([secret()]), {}
    with connect(uri) as connection, connection.cursor() as cursor:
        for number in range(USERS):
            subject, master = f"settler {number}", new_master_key()
            cursor.execute(
                "INSERT INTO users (subject, master_key) VALUES (%s, %s) RETURNING id",
                (subject, sealer.seal(master.base58(), master_key_context(subject))),
            )
            (user_id,) = cursor.fetchone() or (0,)
            cursor.execute(
                "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
                "VALUES (%s, %s, 'production', 'DK1', 0)",
                (user_id, f"p {subject}"),
            )
            points[subject] = metering_point_key(master, 0)
    return points


def _issue(
    uri: str, ledger_url: str, subject: str, point: ExtendedKey, count: int, console: Console
) -> list[_Ggo]:
    """Issue `count` GGOs of 1000 Wh, on the ledger and in the database."""
    console.bar("issuing", int(subject.rpartition(" ")[2]) + 1, USERS)
    begins = [_FIRST + timedelta(hours=number) for number in range(count)]
    keys = [period_key(point, begin) for begin in begins]
    measured = [key.address(AddressKind.MEASUREMENT) for key in keys]
    issued = [key.address(AddressKind.GGO) for key in keys]
    published = [
        {
            "address": address,
            "amount": 1000,
            "type": "PRODUCTION",
            "begin": begin.isoformat(),
            "end": (begin + timedelta(hours=1)).isoformat(),
            "sector": "DK1",
        }
        for address, begin in zip(measured, begins, strict=True)
    ]
    certified = [
        {"measurement_address": one, "ggo_address": other, "tech_type": "T", "fuel_type": "F"}
        for one, other in zip(measured, issued, strict=True)
    ]
    for call, bodies in (("publish", published), ("issue", certified)):
        for start in range(0, count, _AT_ONCE):
            body = bodies[start : start + _AT_ONCE]
            requests.post(f"{ledger_url}/control/{call}", json=body, timeout=60).raise_for_status()
    with connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
            "fuel_code, issue_time, expire_time, issue_gsrn, stored) "
            "SELECT users.id, address, 1000, begin, begin + interval '1 hour', 'DK1', 'T', 'F', "
            "now(), now() + interval '1 year', %s, true FROM users, "
            "unnest(%s::text[], %s::timestamptz[]) AS issued (address, begin) WHERE subject = %s",
            (f"p {subject}", issued, begins, subject),
        )
    return [_Ggo(subject, address) for address in issued]
