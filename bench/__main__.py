"""Measure the service and its limits, print tables, and write `.run/bench/result.json`.

The exit status is 0 even if floors are missed: readers judge the figures.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from bench import (
    before,
    bulks,
    chart,
    cpu,
    dataset,
    growth,
    measures,
    paths,
    running,
    settlement,
    tables,
)
from devstack.console import Console
from devstack.postgres import EmbeddedPostgres
from devstack.processes import ROOT

GROUPS = ("paths", "orders", "settlement", "growth", "scale")
USUAL = GROUPS[:4]
CHART = ROOT / "doc" / "bench-growth.svg"
_LATENCY = 4
"""How many times the median the 95th percentile of a read may be."""


def main() -> int:
    """Build the databases that are missing, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=USUAL, help="groups to run")
    parser.add_argument("--size", type=int, default=1_000_000, help="GGOs for the group paths")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[10_000, 100_000, 1_000_000, 5_000_000],
        help="GGOs for the group growth",
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument("--seconds", type=float, default=10, help="load per run and side")
    parser.add_argument("--batches", type=int, default=1000, help="composes per settlement run")
    parser.add_argument("--chart", action="store_true", help="write the growth chart into doc/")
    options = parser.parse_args()
    bench = _Bench(options, Console())
    with dataset.server() as postgres:
        for group in options.only:
            bench.result[group] = getattr(bench, f"measure_{group}")(postgres)
            bench.write()
    return 0


class _Bench:
    """The groups of measurements, one method each, and their results so far."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self.result: dict[str, Any] = {
            "when": datetime.now(UTC),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
            f"Python {platform.python_version()}",
            "options": vars(options),
        }

    def write(self) -> None:
        """Write the results so far to `result.json`."""
        self.result["load"] = os.getloadavg()
        path = dataset.FOLDER / "result.json"
        path.write_bytes(orjson.dumps(self.result, option=orjson.OPT_INDENT_2))
        self._console.say(f"\n  {path.relative_to(ROOT)}\n")

    def measure_paths(self, postgres: EmbeddedPostgres) -> Any:
        """Compare each path with its limit."""
        options = self._options
        made = dataset.prepare(postgres, options.size, self._console)
        ggo_bytes = dataset.bytes_per_row(made.uri, "ggos")
        found: list[paths.PathResult] = []
        with ExitStack() as stack:
            peers, redis = stack.enter_context(running.peers_and_redis())
            service = stack.enter_context(running.service(made, peers, redis))
            limit_port, limit_pid = stack.enter_context(running.limit_app(made))
            ours, limit = (
                _side(service, postgres),
                paths.Side(limit_port, [limit_pid, _pid(postgres.pid)]),
            )
            context = _context(service, postgres)
            growth.prepare(context)
            for each in (*paths.READS, *paths.WRITES):
                found.append(
                    paths.compare(
                        each, context, ours, limit, runs=options.runs, seconds=options.seconds
                    )
                )
                self._console.say(f"  {found[-1].name}: {found[-1].share:.2f}")
            found.append(
                paths.one_sender(context, ours, runs=options.runs, seconds=options.seconds)
            )
            many_parts_ms = paths.many_parts_ms(
                context, ours, runs=options.runs, seconds=options.seconds
            )
            memory = max(map(cpu.resident_mb, service.worker_pids()))
            dataset.reset_writes(made)
        self._tell_paths(found, memory)
        return {
            "paths": [asdict(each) for each in found],
            "web_mb": memory,
            "many_parts_ms": many_parts_ms,
            "ggo_bytes": ggo_bytes,
        }

    def _tell_paths(self, found: Sequence[paths.PathResult], memory: float) -> None:
        self._console.table(tables.PATH_HEADER, [tables.path_cells(each) for each in found])
        self._console.say(
            f"  web process {memory:.0f} MB (at most {tables.WEB_MB}); p95 : p50 of reads at most {_LATENCY}"
        )

    def measure_orders(self, postgres: EmbeddedPostgres) -> Any:
        """Compare operations, balances, entries and bulk orders with what they may cost."""
        options = self._options
        made = dataset.prepare(postgres, options.size, self._console)
        earlier = before.prepare(postgres, options.size, self._console)
        found = []
        with ExitStack() as stack:
            peers, redis = stack.enter_context(running.peers_and_redis())
            now = _measured(stack.enter_context(running.service(made, peers, redis)), postgres)
            code = before.code()
            then = _measured(
                stack.enter_context(running.service(earlier, peers, redis, code)), postgres
            )
            limit_port, limit_pid = stack.enter_context(running.limit_app(made))
            limit = paths.Side(limit_port, [limit_pid, _pid(postgres.pid)])
            growth.prepare(now.context)
            before.reset_writes(earlier)
            dataset.subscribe_all(earlier)
            for each in bulks.measure(now, then, limit, options.runs, options.seconds):
                found.append(each)
                self._console.say(f"  {each.name}: {each.ratio:.2f}")
        self._console.table(tables.ORDER_HEADER, [tables.ratio_cells(each) for each in found])
        return [asdict(each) for each in found]

    def measure_settlement(self, postgres: EmbeddedPostgres) -> Any:
        """Measure how fast composes are committed on the ledger."""
        options = self._options
        found, worker_mb, batch_bytes = settlement.measure(
            postgres, options.batches, options.runs, self._console
        )
        self._console.table(
            tables.SETTLEMENT_HEADER, [tables.settlement_cells(**asdict(each)) for each in found]
        )
        self._console.say(f"  worker process {worker_mb:.0f} MB (at most {tables.WORKER_MB})")
        return {
            "settlement": [asdict(each) for each in found],
            "worker_mb": worker_mb,
            "batch_bytes": batch_bytes,
        }

    def measure_growth(self, postgres: EmbeddedPostgres) -> Any:
        """Measure the cost of requests in databases of different sizes, and with more accounts."""
        options = self._options
        sets = [dataset.prepare(postgres, size, self._console) for size in options.sizes]
        seconds = options.seconds / 4
        with ExitStack() as stack:
            peers, redis = stack.enter_context(running.peers_and_redis())
            services = [stack.enter_context(running.service(each, peers, redis)) for each in sets]
            contexts = [_context(service, postgres) for service in services]
            sides = [_side(service, postgres) for service in services]
            for context in contexts:
                growth.prepare(context)
            sized = growth.by_size(list(zip(contexts, sides, strict=True)), options.runs, seconds)
            sized += growth.settlements_by_size(services, contexts, options.batches)
            growth.prepare(contexts[-1])
            peopled = growth.by_users(contexts[-1], sides[-1], options.runs, seconds)
            peopled += growth.settlements_by_users(services[-1], contexts[-1], options.batches)
            for context in contexts:
                dataset.reset_writes(context.dataset)
        panels = [("GGOs in the database", sized), ("active accounts", peopled)]
        for title, points in panels:
            self._console.table(
                (title, *(f"{x:,}" for x in sorted({point.x for point in points})), "last : first"),
                list(tables.growth_rows(points)),
            )
        if options.chart:
            chart.write_chart(panels, CHART)
        return {title: [asdict(point) for point in points] for title, points in panels}

    def measure_scale(self, postgres: EmbeddedPostgres) -> Any:
        """Measure an account with a million of five million GGOs."""
        options = self._options
        large = dataset.prepare(postgres, 5_000_000, self._console)
        small = dataset.prepare(postgres, 100_000, self._console)
        with ExitStack() as stack:
            peers, redis = stack.enter_context(running.peers_and_redis())
            service = stack.enter_context(running.service(large, peers, redis))
            found = []
            for each in _scale(service, small, peers, redis, options.runs, options.seconds / 2):
                found.append(each)
                self._console.say(f"  {each.name}: {each.ratio:.2f}")
        self._console.table(tables.ORDER_HEADER, [tables.ratio_cells(each) for each in found])
        return [asdict(each) for each in found]


def _pid(pid: int | None) -> int:
    assert pid is not None
    return pid


def _side(service: running.Service, postgres: EmbeddedPostgres) -> paths.Side:
    return paths.Side(service.port, [_pid(service.process.pid), _pid(postgres.pid)])


def _context(service: running.Service, postgres: EmbeddedPostgres) -> paths.BenchContext:
    return paths.BenchContext(
        dataset=service.dataset,
        tokens={subject: service.token(subject) for subject in dataset.subjects()},
        points=dataset.point_keys(service.dataset),
        webhook_secret=running.WEBHOOK_SECRET.encode(),
        server_pids=[_pid(postgres.pid)],
    )


def _scale(
    service: running.Service,
    small: dataset.Dataset,
    peers: Any,
    redis: Any,
    runs: int,
    seconds: float,
) -> Iterator[measures.ScaleResult]:
    with running.limit_app(service.dataset) as (port, _):
        yield from measures.pages(service, port, runs, seconds)
    yield from measures.sums(service, runs)
    with running.service(small, peers, redis) as other:
        yield from measures.growth(other, service, runs)
    yield from measures.neighbours(service, runs, seconds)
    yield from measures.memory(service)


def _measured(service: running.Service, postgres: EmbeddedPostgres) -> bulks.Measured:
    return bulks.Measured(service, _context(service, postgres), _side(service, postgres))


if __name__ == "__main__":
    sys.exit(main())
