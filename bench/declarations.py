"""Measures what a large declaration costs the service itself, without its peers.

    PYTHONPATH=src:. python bench/declarations.py

It declares a year of hours at 50 metering points in two sectors (438,000 measurements): with fast peers,
with slow peers, and with a GGO retired to every third measurement. Both peers run in another process, so
that this process's CPU time is the service's own share.
"""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import requests
from sqlalchemy import insert, text

from bench.wakeups import NoWakeups
from devstack.configured import postgres_server
from origin.db.models import MeteringPoint, User
from origin.declarations.client.consumption import SUMMED_AT_ONCE
from origin.declarations.rules.declarations import DeclarationQuery
from origin.declarations.views import written
from origin.keys.sealing import access_token_context
from origin.migrate import upgrade
from origin.runtime import Runtime, build_runtime
from origin.settings import Settings
from origin.shared.periods import Resolution
from origin.web.gunicorn.gc_tuning import tune_gc

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 8760
POINTS = 50
SECTORS = ("DK1", "DK2")
LABELS = ("Coal", "Naturalgas", "Oil", "Nuclear", "Waste", "Biomass", "Hydro", "Wind", "Solar")
QUIET_STEP_S = 0.055
"""The least `yardstick_s` on this machine when it is quiet: CPU times are scaled to it."""
PAUSE_S = 0.1
"""The time that a slow peer takes for each answer."""
NEVER = "http://127.0.0.1:9"


def gsrn(point: int) -> str:
    """Return the GSRN of this point."""
    return f"57131318040{point:07}"


def serve() -> None:
    """Serve what DataHub and EnergyTypeService answer here.

    All answers are made beforehand: work beside the service would slow it down.
    """
    places = {gsrn(point): point for point in range(POINTS)}
    labels = orjson.dumps([f"{BEGIN + hour * HOUR:%Y-%m-%d %H:00}" for hour in range(HOURS)])
    groups_of = {
        name: orjson.dumps(
            {
                "group": [name],
                "values": [measurement(hour * POINTS + place)["amount"] for hour in range(HOURS)],
            }
        )
        for name, place in places.items()
    }
    mix = {
        (sector, hour): b",".join(
            orjson.dumps(mix_row(BEGIN + hour * HOUR, sector, label)) for label in LABELS
        )
        for sector in SECTORS
        for hour in range(HOURS)
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def do_POST(self) -> None:
            """Answer the number of a point's measurements with one of them, or sums by the hour."""
            wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            gsrns = wish["filters"]["gsrn"]
            if self.path == "/measurements":
                shown = measurement(places[gsrns[0]])
                self.reply(orjson.dumps({"success": True, "total": HOURS, "measurements": [shown]}))
                return
            groups = b",".join(groups_of[gsrn] for gsrn in gsrns)
            self.reply(b'{"success":true,"labels":%s,"groups":[%s]}' % (labels, groups))

        def do_PUT(self) -> None:
            """Set the seconds that each answer takes from now on."""
            self.server.pause_s = float(self.path.lstrip("/"))  # type: ignore[attr-defined]
            self.reply(b"")

        def do_GET(self) -> None:
            """Answer the mix of some hours."""
            query = parse_qs(urlsplit(self.path).query)
            begin, end = (datetime.fromisoformat(query[n][0]) for n in ("begin_from", "begin_to"))
            first, past = (int((time - BEGIN) / HOUR) for time in (begin, end))
            rows = b",".join(
                mix[sector, hour]
                for hour in range(max(0, first), min(past, HOURS))
                for sector in query["sector"]
            )
            self.reply(b'{"success":true,"mix_emissions":[%s]}' % rows)

        def reply(self, data: bytes) -> None:
            """Answer in JSON."""
            time.sleep(getattr(self.server, "pause_s", 0.0))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def measurement(number: int) -> dict[str, Any]:
    """Return a measurement by its place in DataHub's order, which is by begin."""
    hour, point = divmod(number, POINTS)
    begin = BEGIN + hour * HOUR
    return {
        "address": f"5a9839{number:064x}",
        "gsrn": gsrn(point),
        "begin": begin.isoformat(),
        "end": (begin + HOUR).isoformat(),
        "type": "consumption",
        "sector": SECTORS[point % 2],
        "amount": 10_000 + number * 7919 % 90_000,
    }


def mix_row(hour: datetime, sector: str, label: str) -> dict[str, Any]:
    """Return a row of the mix, with five emissions."""
    place = LABELS.index(label) + 1
    amount = 1_000_000 + (hour.hour * 7919 + place * 104_729 + len(sector)) % 500_000
    emissions = {
        name: round(amount * place / divisor, 3)
        for name, divisor in (("CO2", 9.7), ("CH4", 1e4), ("N2O", 1e5), ("SO2", 7e3), ("NOx", 3e3))
    }
    return {
        "timestamp_utc": hour.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sector": sector,
        "technology": label,
        "amount": amount,
        **emissions,
    }


@contextmanager
def peers() -> Iterator[str]:
    """Run both peers in another process; yields their URL."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - ourselves
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def settings(database_uri: str, peer: str) -> Settings:
    """Return the service's settings."""
    return Settings.of(
        {
            "service_name": "bench",
            "secret": "s",
            "cors_origins": "",
            "project_url": NEVER,
            "datahub_service_url": peer,
            "energy_type_service_url": peer,
            "ledger_url": NEVER,
            "webhook_secret": "s",
            "hydra_url": NEVER,
            "hydra_introspect_url": NEVER,
            "hydra_client_id": "c",
            "hydra_client_secret": "s",
            "redis_host": "127.0.0.1",
            "redis_port": 9,
            "redis_cache_db": 0,
            "redis_broker_db": 0,
            "redis_backend_db": 0,
            "database_uri": database_uri,
            "log_level": "ERROR",
        }
    )


def add_user(runtime: Runtime) -> int:
    """Insert a user and its metering points; return the user's id."""
    token = runtime.sealer.seal("token", access_token_context("alice"))
    with runtime.database.transaction() as session:
        user = User(subject="alice", master_key="", access_token=token)
        session.add(user)
        session.flush()
        points = [
            {
                "user_id": user.id,
                "gsrn": gsrn(point),
                "type": "consumption",
                "sector": SECTORS[point % 2],
                "key_index": point,
            }
            for point in range(POINTS)
        ]
        session.execute(insert(MeteringPoint), points)
        return user.id


def retire(runtime: Runtime, user_id: int) -> None:
    """Retire a GGO to every third measurement."""
    with runtime.database.transaction() as session:
        session.execute(
            text(
                """
                INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code,
                    fuel_code, emissions, issue_time, expire_time, parent_id, sender_id, key_index,
                    split_position, issue_gsrn, stored, retired, retire_gsrn, retire_address)
                SELECT :user, 'a' || n, 5000, begin, begin + interval '1 hour',
                    point.sector, 'T020001', 'F01050100', '{"CO2": 0.0123, "CH4": 0.00045}', begin,
                    begin + interval '1 year', NULL, NULL, NULL, NULL, point.gsrn, false, true,
                    point.gsrn, 'm' || n
                FROM generate_series(0, :total - 1, 3) AS each (n)
                    CROSS JOIN LATERAL (SELECT :begin + (n / :points) * interval '1 hour' AS begin) AS time
                    JOIN metering_points AS point ON point.key_index = n % :points
                """
            ),
            {"user": user_id, "total": POINTS * HOURS, "begin": BEGIN, "points": POINTS},
        )


def measure(
    runtime: Runtime, user_id: int, resolution: Resolution, *, waiting_s: float = 0
) -> None:
    """Declare once and print the costs.

    :param waiting_s: The time that DataHub, the slower peer, waits in all.
    """
    query = DeclarationQuery(
        gsrns=tuple(gsrn(point) for point in range(POINTS)),
        begin=BEGIN,
        end=BEGIN + (HOURS - 1) * HOUR,
        resolution=resolution,
        offset=timedelta(hours=1),
    )
    step = yardstick_s()
    before, wall, cpu = _peak_mb(), time.perf_counter(), time.process_time()
    found = runtime.declarations.answer(user_id, query)
    body = written(found)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    step = (step + yardstick_s()) / 2
    assert found.individual.total.consumed
    print(
        f"{resolution.value:>5}: {wall:5.2f} s in all, {wall - waiting_s:5.2f} s of it beyond what "
        f"the slower peer waits, {cpu:4.2f} s our own CPU "
        f"({cpu / step * QUIET_STEP_S:4.2f} s on a quiet core), "
        f"{_peak_mb() - before:4.0f} MB more at the peak, answer {len(body) / 1e6:.1f} MB"
    )


def yardstick_s() -> float:
    """Return the CPU seconds of a million steps of Python now: the machine's pace."""
    begun, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number * number
    return time.process_time() - begun


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure the smallest case first: the peak of memory never falls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="run the peers")
    if parser.parse_args().serve:
        serve()
        return
    with postgres_server(fsync=False) as postgres, peers() as peer:
        uri = postgres.create_database("bench_declarations")
        upgrade(uri)
        runtime = build_runtime(settings(uri, peer), NoWakeups())
        user_id = add_user(runtime)
        tune_gc()
        measure(runtime, user_id, Resolution.HOUR)
        requests.put(f"{peer}/{PAUSE_S}", timeout=10).raise_for_status()
        calls = POINTS + -(-POINTS * HOURS // SUMMED_AT_ONCE)
        measure(runtime, user_id, Resolution.HOUR, waiting_s=calls * PAUSE_S)
        requests.put(f"{peer}/0", timeout=10).raise_for_status()
        retire(runtime, user_id)
        measure(runtime, user_id, Resolution.HOUR)
        runtime.database.dispose()
        postgres.drop_database("bench_declarations")


if __name__ == "__main__":
    main()
