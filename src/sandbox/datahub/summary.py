"""Sums measurements by period as the real DataHub does (contract: peers, DataHubService)."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

from sandbox.datahub.store import Row
from sandbox.datahub.wire import Range, Resolution, SummaryWanted
from sandbox.web import RefusalError

_FORMATS: dict[Resolution, str] = {
    "all": "All-time",
    "year": "%Y",
    "month": "%Y-%m",
    "day": "%Y-%m-%d",
    "hour": "%Y-%m-%d %H:00",
}


def summary_of(
    rows: Iterable[tuple[str, Row]], wish: SummaryWanted
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the labels, and the groups with one value (Wh or None) for each label.

    RefusalError 500 for a grouping other than none or `gsrn`, as the real DataHub fails.
    """
    if wish.grouping not in ([], ["gsrn"]):
        raise RefusalError(500, "Internal Server Error")
    zone = timezone(timedelta(hours=wish.utcOffset))
    sums: dict[str, dict[str, int]] = {}
    for gsrn, row in rows:
        label = _label(wish.resolution, row.begin, zone)
        group = sums.setdefault(gsrn if wish.grouping else "", {})
        group[label] = group.get(label, 0) + row.amount
    labels = {label for group in sums.values() for label in group}
    if wish.fill and wish.filters.beginRange is not None:
        labels = set(_filled(wish.resolution, wish.filters.beginRange, zone))
    ordered = sorted(labels)
    groups = [
        {
            "group": [gsrn] if wish.grouping else [],
            "values": [group.get(label) for label in ordered],
        }
        for gsrn, group in sorted(sums.items())
    ]
    return ordered, groups


@lru_cache(maxsize=100_000)
def _label(resolution: Resolution, begin: datetime, zone: tzinfo) -> str:
    return begin.astimezone(zone).strftime(_FORMATS[resolution])


def _filled(resolution: Resolution, begins: Range, zone: tzinfo) -> Iterator[str]:
    """Yield the label of every hour in the range without its end, as the real DataHub does."""
    time = begins.begin
    while time < begins.end:
        yield _label(resolution, time, zone)
        time += timedelta(hours=1)
