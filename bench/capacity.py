"""Compute doc/operations/capacity.md from a result of `make bench`: `python -m bench.capacity [RESULT]`.

With `--tables`, also renew the tables of doc/bench.md.
"""

import argparse
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from bench.growth import SETTLEMENT, CostPoint, ratios
from bench.paths import MANY_PARTS
from bench.tables import caution, markdown, path_results, with_tables
from devstack.processes import ROOT

RESULT = ROOT / "doc/operations/bench-result.json"
_BENCH_PAGE = ROOT / "doc/bench.md"

PRODUCERS = 150_000
CONSUMERS = 3_000_000
REQUESTS_A_DAY = 10
READING_HOURS = 8
YEARS = 5
QUARTERS = 4
"""GGOs of a producer in an hour."""
SIGNED_BYTES_A_PART = 200
"""What each further part adds to a signed batch."""
_SECONDS_AN_HOUR = 3600
_HOURS = 24 * 365.25 * YEARS

_NAMES = {
    "/accounts": "`/accounts`: authentication",
    "/ggo/get-total-amount: an hour": "an hour's total",
    "/ggo: 100 of a month": "a page of 100 GGOs of a month",
    "/ggo: a year unpaged, 8,760 GGOs": "a year unpaged, 8,760 GGOs",
    "/ggo/summary: day by technology, a year": "a year by day and technology",
    "/ggo/summary: month by sector and technology, ten years": (
        "ten years by month, sector and technology"
    ),
    "on-ggo-issued": "an issued GGO, stored, with its webhook queued",
    "/ggo/compose: half, many senders": "a compose into two parts",
}
"""The measured paths in the table, and what they are called there."""


@dataclass(frozen=True)
class Cost:
    """CPU ms of an operation: of all processes, and of PostgreSQL alone."""

    ms: float
    database_ms: float

    def cores(self, per_second: float) -> float:
        """Return the cores that so many operations a second use."""
        return self.ms * per_second / 1000


@dataclass(frozen=True)
class Costs:
    """What the bench has measured."""

    machine: str
    day: str
    ggos: int
    caution: str
    """A sentence if the bench's runs were short; else nothing."""
    paths: dict[str, Cost]
    batch: Cost
    many_parts: Cost
    worker_ms: float
    """CPU ms of the worker alone for a batch."""
    largest: int
    """GGOs in the largest database of the group growth."""
    growth: float
    """The largest cost of an operation there, divided by that in the smallest database."""
    ggo_bytes: float
    batch_bytes: float

    @classmethod
    def of(cls, result: Any) -> "Costs":
        """Read a result file."""
        paths = {
            each.name: Cost(
                1000 / each.ours.per_cpu_second,
                1000 / each.ours.per_cpu_second * each.ours.database_share,
            )
            for each in path_results(result["paths"])
        }
        points = [CostPoint(**each) for each in result["growth"]["GGOs in the database"]]
        settled_ms = [each.ms for each in points if each.operation == SETTLEMENT][-1]
        worker_ms = result["settlement"]["settlement"][-1]["worker_ms"]
        compose = paths["/ggo/compose: half, many senders"]
        many_ms = result["paths"]["many_parts_ms"]
        return cls(
            machine=result["machine"],
            day=result["when"][:10],
            ggos=result["options"]["size"],
            caution=caution(result["options"]),
            paths=paths,
            batch=Cost(settled_ms, max(0.0, settled_ms - worker_ms)),
            many_parts=Cost(many_ms, many_ms * compose.database_ms / compose.ms),
            worker_ms=worker_ms,
            largest=max(each.x for each in points),
            growth=max(ratio for _, ratio in ratios(points)),
            ggo_bytes=result["paths"]["ggo_bytes"],
            batch_bytes=result["settlement"]["batch_bytes"],
        )


def page(result: Any) -> str:
    """Return the whole page."""
    costs = Costs.of(result)
    return "\n".join([_head(costs), _node(costs), _country(costs)])


def _head(costs: Costs) -> str:
    return f"""# Capacity: one node, and a whole country

`make capacity` computes this page from [bench-result.json](bench-result.json), the result of `make bench` on {costs.day}: {costs.machine}, {costs.ggos:,} GGOs, with web, worker and PostgreSQL on the same machine ([bench.md](../bench.md)).{costs.caution} Don't edit it by hand. To see the figures of your machine, run `make bench`, then `make capacity`. How many processes and connections to run is in [sizing.md](sizing.md).
"""


def _node(costs: Costs) -> str:
    rows = [
        (
            _NAMES[name],
            f"{cost.ms:.1f}",
            f"{cost.database_ms:.1f}",
            f"{1000 / cost.ms:,.0f}",
        )
        for name, cost in costs.paths.items()
        if name in _NAMES
    ]
    rows += [
        (f"a compose into {MANY_PARTS} parts", *_cells(costs.many_parts)),
        ("a batch on the ledger (worker and PostgreSQL)", *_cells(costs.batch)),
    ]
    header = ("request", "CPU ms each", "of which PostgreSQL", "per second and core")
    return f"""## One node

{markdown(header, rows)}

A web process can use one core, and so can a worker process: {1000 / costs.worker_ms:.0f} batches a second, if the ledger keeps up.

A GGO takes {costs.ggo_bytes:.0f} bytes of disk with all its indexes: {costs.ggo_bytes * 5e6 / 1e9:.1f} GB for five million. A compose into two parts adds two GGOs and a batch of {costs.batch_bytes / 1000:.1f} kB, with its signed bytes, its operation and its history.
"""


def _cells(cost: Cost) -> tuple[str, str, str]:
    return (f"{cost.ms:.1f}", f"{cost.database_ms:.1f}", f"{1000 / cost.ms:,.0f}")


def _country(costs: Costs) -> str:
    issued = PRODUCERS * QUARTERS / _SECONDS_AN_HOUR
    retired = CONSUMERS * QUARTERS / _SECONDS_AN_HOUR
    read = CONSUMERS * REQUESTS_A_DAY / (READING_HOURS * _SECONDS_AN_HOUR)
    issue, compose = costs.paths["on-ggo-issued"], costs.paths["/ggo/compose: half, many senders"]
    reading = _mean_read(costs)
    work = [
        ("store issued GGOs", issued, issue),
        (f"transfer each to {MANY_PARTS} consumers: composes", issued, costs.many_parts),
        ("the same: batches on the ledger", issued, costs.batch),
        ("retire for each consumer: composes", retired, compose),
        ("the same: batches on the ledger", retired, costs.batch),
        ("read: three summaries of a year in ten requests, seven pages and totals", read, reading),
    ]
    rows = [
        (name, f"{rate:,.0f}", f"{cost.ms:.1f}", f"{cost.cores(rate):.1f}")
        for name, rate, cost in work
    ]
    cores = sum(cost.cores(rate) for _, rate, cost in work)
    database = sum(Cost(cost.database_ms, 0).cores(rate) for _, rate, cost in work)
    header = ("work", "a second", "CPU ms each", "cores")
    peak = PRODUCERS / 60
    return f"""## A whole country

{PRODUCERS:,} producers get a GGO every quarter of an hour. {CONSUMERS:,} consumers retire in every quarter of an hour, and send {REQUESTS_A_DAY} requests a day within {READING_HOURS} hours. Data are kept for {YEARS} years.

{markdown(header, rows)}

**In all {cores:.0f} cores**, {database:.0f} of them for PostgreSQL. If DataHub sends the GGOs of a quarter of an hour within its first minute, storing them takes {issue.cores(peak):.0f} cores for that minute ({peak:,.0f} a second).

The batches of {MANY_PARTS} parts are counted like batches of two, because the bench measures no others. Retiring takes {ceil(retired * costs.worker_ms / 1000)} worker processes, and {retired:,.0f} batches a second. No Sawtooth ledger is known to commit thousands of batches a second, so the ledger is the limit, not this service. Put as much as possible into one batch: a compose can retire and transfer up to 1,000 parts each.

{_disk(costs)}
These are calculations. From the smallest to the largest database of the bench ({costs.largest:,} GGOs), the cost of an operation grew to {costs.growth:.2f} times at most ([bench.md](../bench.md#growth)); beyond that nothing was measured.
"""


def _mean_read(costs: Costs) -> Cost:
    summary = costs.paths["/ggo/summary: day by technology, a year"]
    listing = costs.paths["/ggo: 100 of a month"]
    total = costs.paths["/ggo/get-total-amount: an hour"]
    return Cost(
        0.3 * summary.ms + 0.35 * (listing.ms + total.ms),
        0.3 * summary.database_ms + 0.35 * (listing.database_ms + total.database_ms),
    )


def _disk(costs: Costs) -> str:
    ggos = PRODUCERS * QUARTERS * _HOURS
    batch = costs.batch_bytes + (MANY_PARTS - 2) * SIGNED_BYTES_A_PART
    rows = [
        ("issued GGOs", ggos, costs.ggo_bytes),
        (f"parts, {MANY_PARTS} of each", MANY_PARTS * ggos, costs.ggo_bytes),
        ("batches", ggos, batch),
    ]
    cells = [
        (name, f"{count / 1e9:,.1f} billion", f"{size:,.0f}", f"{count * size / 1e12:,.0f}")
        for name, count, size in rows
    ]
    hourly = MANY_PARTS * ggos * costs.ggo_bytes / QUARTERS / YEARS
    return f"""{markdown(("disk", "rows", "bytes each", "TB"), cells)}

One large PostgreSQL can hold the issued GGOs, but not everything. Quarters of an hour need accounts split over several servers, which the service doesn't support, or months archived in which everything has been retired or has expired. With a GGO every hour, the parts take {hourly / 1e12:,.0f} TB a year: one PostgreSQL suffices if months are archived after a year.
"""


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=RESULT)
    parser.add_argument("--tables", action="store_true", help="renew doc/bench.md's tables")
    options = parser.parse_args()
    result = orjson.loads(options.result.read_bytes())
    sys.stdout.write(page(result))
    if options.tables:
        _BENCH_PAGE.write_text(with_tables(_BENCH_PAGE.read_text(), result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
