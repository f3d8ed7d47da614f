"""The bench's tables: for the console, and in Markdown between the markers of doc/bench.md."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.growth import BOUND, CostPoint, ratios
from bench.measures import ScaleResult
from bench.paths import PathResult, Run
from bench.settlement import TARGET_PER_S

WEB_MB = 150
WORKER_MB = 160
RELIABLE_S = 3
"""Shorter runs give rough figures only."""
PATH_HEADER = (
    "path", "share of its limit", "floor", "", "requests/CPU s", "limit", "requests/s",
    "limit", "p50 ms", "p95 : p50", "spread",
)  # fmt: skip
ORDER_HEADER = ("measured", "ours", "other", "ratio", "bound", "", "spread")
SETTLEMENT_HEADER = ("settlement", "batches/s", "floor", "worker CPU ms per batch")

Row = Sequence[str]


def path_cells(each: PathResult) -> Row:
    """Return a path's row."""
    ours, limit = each.ours, each.limit
    return (
        each.name,
        f"{each.share:.2f}",
        f"≥ {each.target}",
        "met" if each.met else "missed",
        f"{ours.per_cpu_second:.0f}",
        f"{limit.per_cpu_second:.0f}",
        f"{ours.per_second:.0f}",
        f"{limit.per_second:.0f}",
        f"{ours.p50_ms:.1f}",
        f"{ours.p95_ms / ours.p50_ms:.1f}",
        f"{each.spread:.2f}",
    )


def ratio_cells(each: ScaleResult) -> Row:
    """Return the row of two sides and their ratio."""
    return (
        each.name,
        f"{each.ours:.2f} {each.unit}",
        f"{each.theirs:.2f}",
        f"{each.ratio:.2f}",
        each.bound,
        "met" if each.met else "missed",
        f"{each.spread:.2f}",
    )


def settlement_cells(name: str, per_second: float, worker_ms: float) -> Row:
    """Return the row of a way to settle."""
    return (name, f"{per_second:.0f}", f"≥ {TARGET_PER_S}", f"{worker_ms:.1f}")


def growth_rows(points: Sequence[CostPoint]) -> Iterator[Row]:
    """Yield an operation's row: its cost at each size, and the last divided by the first."""
    for name, ratio in ratios(points):
        costs = [point.ms for point in points if point.operation == name]
        yield (f"{name}, CPU ms", *(f"{ms:.2f}" for ms in costs), f"{ratio:.2f}")


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(document: str, result: Any) -> str:
    """Return doc/bench.md with the tables of a result between its markers.

    :raises ValueError: the document lacks a marker.
    """
    for name, text in _sections(result).items():
        start, end = f"<!-- {name} -->\n", "\n<!-- end -->"
        before, found, rest = document.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"doc/bench.md has no marker {start.strip()}, or no end after it")
        document = f"{before}{start}{text}{end}{after}"
    return document


def _sections(result: Any) -> dict[str, str]:
    options = result["options"]
    return {name: tell(result[name], options) for name, tell in _SECTIONS.items() if name in result}


def path_results(group: Any) -> list[PathResult]:
    """Return the results in the group `paths` of a result file."""
    return [
        PathResult(**{**each, "ours": Run(**each["ours"]), "limit": Run(**each["limit"])})
        for each in group["paths"]
    ]


def caution(options: Any) -> str:
    """Return a sentence, after a space, if the runs were too short for reliable figures; else nothing."""
    if options["seconds"] >= RELIABLE_S:
        return ""
    return " Such short runs give rough figures only, and may miss a floor."


def _paths(group: Any, options: Any) -> str:
    rows = [path_cells(each) for each in path_results(group)]
    return (
        f"{options['size']:,} GGOs; {options['runs']} runs of {options['seconds']:g} s on each "
        f"side.{caution(options)}\n\n{markdown(PATH_HEADER, rows)}\n\nA web process had {group['web_mb']:.0f} MB "
        f"afterwards (at most {WEB_MB})."
    )


def _settlement(group: Any, options: Any) -> str:
    rows = [settlement_cells(**each) for each in group["settlement"]]
    return (
        f"{options['batches']:,} composes in a run, {options['runs']} runs.\n\n"
        f"{markdown(SETTLEMENT_HEADER, rows)}\n\nThe worker process had {group['worker_mb']:.0f} MB "
        f"afterwards (at most {WORKER_MB})."
    )


def _growth(group: Any, _options: Any) -> str:
    tables = []
    for title, points in group.items():
        costs = [CostPoint(**each) for each in points]
        sizes = (f"{x:,}" for x in sorted({each.x for each in costs}))
        header = (title, *sizes, f"last : first (≤ {BOUND})")
        tables.append(markdown(header, list(growth_rows(costs))))
    return "\n\n".join(tables)


def _orders(group: Any, options: Any) -> str:
    rows = [ratio_cells(ScaleResult(**each)) for each in group]
    return (
        f"{options['size']:,} GGOs; {options['runs']} runs.{caution(options)}\n\n"
        f"{markdown(ORDER_HEADER, rows)}"
    )


_SECTIONS: dict[str, Any] = {
    "paths": _paths,
    "orders": _orders,
    "settlement": _settlement,
    "growth": _growth,
}
