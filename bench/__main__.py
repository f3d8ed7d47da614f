"""Measure the targets, print a table, write `.run/bench/result.json`.

The process's exit status is 0 even where targets are missed: the numbers are for readers.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime

import orjson

from bench import dataset, measures, running
from devstack.console import Console

GROUPS = ("pages", "sums", "growth", "neighbours", "memory")
_INDENTED = orjson.OPT_INDENT_2


def main() -> int:
    """Build what isn't built yet, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", type=int, default=5_000_000, help="GGOs in the database")
    parser.add_argument("--small", type=int, default=100_000, help="GGOs in the small one")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument("--seconds", type=float, default=4, help="of load in a run")
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=GROUPS, help="these alone")
    options = parser.parse_args()
    console = Console()
    with dataset.server() as postgres:
        large = dataset.prepare(postgres, options.size, console)
        small = dataset.prepare(postgres, options.small, console)
        found = _measure(large, small, options, console)
    _report(found, options, console)
    return 0


def _measure(
    large: dataset.Dataset,
    small: dataset.Dataset,
    options: argparse.Namespace,
    console: Console,
) -> list[measures.Measure]:
    found: list[measures.Measure] = []

    def note(measured: Iterable[measures.Measure]) -> None:
        for each in measured:
            found.append(each)
            console.say(f"  {each.name}: {each.ratio:.2f}")

    runs, seconds = options.runs, options.seconds
    with ExitStack() as stack:
        peers, redis = stack.enter_context(running.peers_and_redis())
        service = stack.enter_context(running.service(large, peers, redis))
        if "pages" in options.only:
            with running.bare_view(large) as bare_port:
                note(measures.pages(service, bare_port, runs, seconds))
        if "sums" in options.only:
            note(measures.sums(service, runs))
        if "growth" in options.only:
            with running.service(small, peers, redis) as other:
                note(measures.growth(other, service, runs))
        if "neighbours" in options.only:
            note(measures.neighbours(service, runs, seconds))
        if "memory" in options.only:
            note(measures.memory(service))
    return found


def _report(found: list[measures.Measure], options: argparse.Namespace, console: Console) -> None:
    console.say()
    header = ("measured", "ours", "other", "ratio", "target", "", "largest/smallest ratio")
    console.table(header, [_cells(each) for each in found])
    result = {
        "when": datetime.now(UTC),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load": os.getloadavg(),
        "options": vars(options),
        "measures": [asdict(each) for each in found],
    }
    path = dataset.FOLDER / "result.json"
    path.write_bytes(orjson.dumps(result, option=_INDENTED))
    console.say(f"\n  {path.relative_to(dataset.ROOT)}")


def _cells(each: measures.Measure) -> tuple[str, ...]:
    numbers = (f"{each.ours:.1f} {each.unit}", f"{each.theirs:.1f}", f"{each.ratio:.2f}")
    return (
        each.name,
        *numbers,
        each.bound,
        "met" if each.met else "missed",
        f"{each.spread:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
