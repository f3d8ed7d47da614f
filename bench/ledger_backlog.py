"""Measure how fast a backlog of composes drains: `PYTHONPATH=src python bench/ledger_backlog.py`.

One user has composed `--batches` times, another once after that; one worker's task takes them all
to a sandbox ledger that commits at once. Prints batches a second, status calls a batch, what a claim
costs, and how much of the backlog ended after the other user's batch.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from sqlalchemy import text

from devstack.console import Console
from devstack.environment import service_environment
from devstack.postgres import EmbeddedPostgres
from devstack.stack import peers_environment
from devstack.valkey import EmbeddedValkey
from origin.db.batch_queue import claim_due
from origin.db.encryption import master_key_context
from origin.domain.compose import Order, Transfer
from origin.domain.keys import AddressKind, Key, metering_point_key, new_master_key, period_key
from origin.migrate import upgrade
from origin.runtime import Runtime, build_runtime
from origin.services.compose import compose
from origin.services.settlement import run_due
from origin.settings import Settings
from sandbox.running import Sandbox

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
CHUNK = 500
BUSY, OTHER = 1, 2


class NoHints:
    """Nobody is woken: this measures one worker."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_args, **_named: None


def rows(runtime: Runtime, sql: str, **parameters: Any) -> list[Any]:
    """The rows of a statement."""
    with runtime.database.transaction() as session:
        result = session.execute(text(sql), parameters)
        return list(result) if result.returns_rows else []


def new_user(runtime: Runtime, user_id: int) -> Key:
    """A user with one production point; the point's key."""
    subject, master = f"user-{user_id}", new_master_key()
    sealed = runtime.sealer.seal(master.base58(), master_key_context(subject))
    rows(runtime, "INSERT INTO users (subject, master_key) VALUES (:s, :k)", s=subject, k=sealed)
    rows(
        runtime,
        "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
        "VALUES (:u, :g, 'production', 'DK1', 0)",
        u=user_id,
        g=f"gsrn-{user_id}",
    )
    return metering_point_key(master, 0)


def issue(runtime: Runtime, ledger_url: str, user_id: int, point: Key, count: int) -> list[str]:
    """Issue so many GGOs of 1000 Wh, on the ledger and here; their addresses."""
    addresses = []
    for start in range(0, count, CHUNK):
        begins = [FIRST + timedelta(hours=n) for n in range(start, min(start + CHUNK, count))]
        keys = [period_key(point, begin) for begin in begins]
        measured = [key.address(AddressKind.MEASUREMENT) for key in keys]
        issued = [key.address(AddressKind.GGO) for key in keys]
        _control(
            ledger_url,
            "publish",
            [
                {
                    "address": address,
                    "amount": 1000,
                    "type": "PRODUCTION",
                    "begin": begin.isoformat(),
                    "end": (begin + timedelta(hours=1)).isoformat(),
                    "sector": "DK1",
                }
                for address, begin in zip(measured, begins, strict=True)
            ],
        )
        _control(
            ledger_url,
            "issue",
            [
                {
                    "measurement_address": one,
                    "ggo_address": other,
                    "tech_type": "T",
                    "fuel_type": "F",
                }
                for one, other in zip(measured, issued, strict=True)
            ],
        )
        rows(
            runtime,
            'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
            "fuel_code, issue_time, expire_time, issue_gsrn, stored) "
            "SELECT :u, address, 1000, begin, begin + interval '1 hour', 'DK1', 'T', 'F', now(), "
            "now() + interval '1 year', :g, true "
            "FROM unnest(CAST(:a AS text[]), CAST(:b AS timestamptz[])) AS t (address, begin)",
            u=user_id,
            g=f"gsrn-{user_id}",
            a=issued,
            b=begins,
        )
        addresses += issued
    return addresses


def _control(ledger_url: str, call: str, body: list[dict[str, Any]]) -> None:
    requests.post(f"{ledger_url}/control/{call}", json=body, timeout=60).raise_for_status()


def drain(runtime: Runtime, console: Console, total: int) -> tuple[float, float]:
    """Work as one worker does; the seconds that took, and those of them on the CPU."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    while True:
        run_due(runtime)
        [(left,)] = rows(runtime, "SELECT count(*) FROM batches WHERE ended_at IS NULL")
        console.say(f"{total - left} of {total} settled")
        if not left:
            return time.perf_counter() - begin, time.process_time() - begin_cpu
        rows(runtime, "SELECT pg_sleep(0.05)")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=2000)
    count = parser.parse_args().batches
    logging.disable(logging.WARNING)
    console = Console()
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(fsync=False))
        valkey = stack.enter_context(EmbeddedValkey())
        sandbox = stack.enter_context(Sandbox(block_time=0))
        uri = postgres.create_database("backlog")
        upgrade(uri)
        environment = service_environment(
            database_uri=uri, redis=valkey, peers=peers_environment(sandbox.urls), port=8085
        )
        values = {name.lower(): value for name, value in environment.items()}
        values |= {"ledger_poll_delay": "0.5", "lease_seconds": "60"}
        runtime = build_runtime(Settings(**values), NoHints())
        stack.callback(runtime.database.dispose)
        ledger_url = sandbox.urls["ledger"]
        points = {user_id: new_user(runtime, user_id) for user_id in (BUSY, OTHER)}
        for user_id, number in ((BUSY, count), (OTHER, 1)):
            for address in issue(runtime, ledger_url, user_id, points[user_id], number):
                order = Order(address, [Transfer(100, f"user-{OTHER}", "bench")])
                compose(runtime, user_id, order)
        begin = time.perf_counter()
        with runtime.database.transaction() as session:
            claim_due(session, limit=200, lease_s=0.001)
        claim_s = time.perf_counter() - begin
        sandbox.ledger.forget_calls()
        seconds, cpu_s = drain(runtime, console, count + 1)
        [(later,)] = rows(
            runtime,
            "SELECT count(*) FROM batches WHERE ended_at > "
            "(SELECT ended_at FROM batches WHERE user_id = 2)",
        )
        ledger = sandbox.ledger
        polls = ledger.count("GET /batch_statuses") + ledger.count("POST /batch_statuses")
        console.say(
            f"{(count + 1) / seconds:.0f} batches/s ({count + 1} in {seconds:.1f} s), "
            f"{cpu_s / (count + 1) * 1000:.1f} ms of this process's CPU each, "
            f"{polls / (count + 1):.3f} status calls and "
            f"{ledger.count('POST /batches') / (count + 1):.2f} POSTs a batch, "
            f"a claim of 200 in {claim_s * 1000:.0f} ms; "
            f"{later} batches ended after the one that was composed last"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
