"""Prints how many branches of each package the tests have taken: `python -m devstack.coverage_table FILE`.

FILE is coverage.py's JSON report. It knows the code that ran in pytest's own processes, and no other.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_PACKAGE = "src/origin/"
_NOTE = (
    "Only code that ran in pytest's own processes: not the web, workers and Beat that tests start."
)


def table(report: dict[str, Any]) -> str:
    """Return one line for each package, and one for all, as percentages of branches and lines.

    :param report: coverage.py's JSON report, made with branches.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path, file in report["files"].items():
        name, is_inside, _ = path.partition(_PACKAGE)[2].partition("/")
        for key in (name if is_inside else "(modules)", "all"):
            for place, value in enumerate(_numbers(file["summary"])):
                counts[key][place] += value
    total = counts.pop("all", [0, 0, 0, 0])
    rows = [*sorted(counts.items()), ("all", total)]
    lines = [f"  {'package':16}{'branches':>10}{'lines':>8}"]
    for name, (branches, all_branches, taken, all_lines) in rows:
        lines.append(
            f"  {name:16}{_percent(branches, all_branches):>10}{_percent(taken, all_lines):>8}"
        )
    return "\n".join(["Branch coverage", *lines, _NOTE])


def _numbers(summary: dict[str, int]) -> tuple[int, int, int, int]:
    """Return branches taken, branches, lines run, lines."""
    return (
        summary["covered_branches"],
        summary["num_branches"],
        summary["covered_lines"],
        summary["num_statements"],
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "-"


if __name__ == "__main__":
    report_file = Path(sys.argv[1])
    if report_file.exists():
        print(table(json.loads(report_file.read_text())))  # noqa: T201 - what it is for
