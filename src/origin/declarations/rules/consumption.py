"""What was measured, and what was retired to it (contract: domain, Declarations).

Times are Unix seconds. There may be half a million measurements, and as many GGOs retired to them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import repeat
from operator import add as plus
from typing import NamedTuple

from origin.declarations.rules.exact import ONE, exact

HOUR_S = 3600
UNKNOWN = "Unknown"
"""The technology of a GGO whose codes have no label."""

Series = dict[int, int]
"""Amounts by the begin of their hour."""


class Measurements(NamedTuple):
    """What a metering point measured: Wh, and the begins, each once, of the periods in which it did."""

    begins: list[int]
    amounts: list[int]


Consumption = dict[tuple[str, str], Measurements]
"""By GSRN and sector."""


class Retired(NamedTuple):
    """A GGO that was retired to a measurement; in the order of the query's columns."""

    gsrn: str
    begin: int
    amount: int
    """Wh."""
    technology: str | None
    emissions: Mapping[str, Decimal | int] | None
    """g/Wh by name of the emission."""


RetiredRow = tuple[str, int, int, str | None, Mapping[str, Decimal | int] | None]
"""The same without names, of which there may be hundreds of thousands."""


@dataclass(slots=True)
class Matched:
    """What was retired to measurements, by hour."""

    by_sector: dict[str, Series] = field(default_factory=dict)
    """Wh."""
    technologies: dict[str, Series] = field(default_factory=dict)
    """Wh by label, exact (`origin.declarations.rules.exact`)."""
    emissions: dict[str, Series] = field(default_factory=dict)
    """g by name, exact."""
    exceeded: dict[tuple[str, int], None] = field(default_factory=dict)
    """GSRN and begin of measurements that more was retired to than they measure now."""


def hour_of(time: int) -> int:
    """The begin of the hour that holds it."""
    return time - time % HOUR_S


def unix_s(time: datetime) -> int:
    """Its Unix time; a time without an offset is in UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def add(sums: Series, times: Collection[int], amounts: Iterable[int]) -> None:
    """Add an amount for each of the times, which may be there already, and come more than once."""
    # All of this is lazy: each sum is looked up after the one before is stored.
    sums.update(zip(times, map(plus, map(sums.get, times, repeat(0)), amounts), strict=True))


def increase(columns: dict[str, Series], name: str, hour: int, amount: int) -> None:
    """Add an amount to the column of this name."""
    sums = columns.get(name)
    if sums is None:
        sums = columns[name] = {}
    sums[hour] = sums.get(hour, 0) + amount


def consumed(consumption: Consumption) -> dict[str, Series]:
    """Wh by sector and hour."""
    by_sector: dict[str, dict[tuple[int, ...], list[list[int]]]] = {}
    for (_, sector), (begins, amounts) in consumption.items():
        by_sector.setdefault(sector, {}).setdefault(tuple(begins), []).append(amounts)
    found: dict[str, Series] = {}
    for sector, alike in by_sector.items():
        sums = found[sector] = {}
        # Most points have measurements of the same periods.
        for times, columns in alike.items():
            add(sums, list(map(hour_of, times)), map(sum, zip(*columns, strict=True)))
    return found


def match(consumption: Consumption, retired: Iterable[RetiredRow]) -> Matched:
    """What was retired, up to what is measured.

    :param retired: In the order of retiring.
    """
    points = _Points(consumption)
    matched = Matched()
    sums = _Sums(matched.emissions)
    for gsrn, begin, amount, technology, emissions in retired:
        point = points[gsrn]
        left = point.left.get(begin, 0)
        used = amount
        if left < amount:
            used = left
            matched.exceeded[gsrn, begin] = None
        if not used:
            continue
        point.left[begin] = left - used
        hour = begin - begin % HOUR_S
        increase(matched.by_sector, point.sectors.get(begin, point.sector), hour, used)
        increase(matched.technologies, technology or UNKNOWN, hour, used * ONE)
        for series, grams in sums.of(emissions):
            series[hour] = series.get(hour, 0) + used * grams
    return matched


class _Point(NamedTuple):
    """What was measured, by begin, and isn't matched yet: Wh, in this sector but for some begins."""

    left: Series
    sector: str
    sectors: dict[int, str]


class _Points(dict[str, _Point]):
    """By GSRN; made of those that are looked for."""

    def __init__(self, consumption: Consumption) -> None:
        super().__init__()
        self._series: dict[str, list[tuple[str, Measurements]]] = {}
        for (gsrn, sector), measurements in consumption.items():
            self._series.setdefault(gsrn, []).append((sector, measurements))

    def __missing__(self, gsrn: str) -> _Point:
        (first, measurements), *others = self._series.get(gsrn, [("", Measurements([], []))])
        point = self[gsrn] = _Point(dict(zip(*measurements, strict=True)), first, {})
        # Where sectors have the same begin, the first that came counts.
        for sector, (begins, amounts) in others:
            for begin, amount in zip(begins, amounts, strict=True):
                if begin not in point.left:
                    point.left[begin], point.sectors[begin] = amount, sector
        return point


class _Sums:
    """Emissions by hour, to be added to.

    :param columns: By name.
    """

    def __init__(self, columns: dict[str, Series]) -> None:
        self._columns = columns
        self._known: dict[int, tuple[object, list[tuple[Series, int]]]] = {}

    def of(self, emissions: Mapping[str, Decimal | int] | None) -> list[tuple[Series, int]]:
        """For each of these emissions what to add to, and the exact g/Wh."""
        # By identity: of hundreds of thousands there are few different ones. They are held, so that
        # none gets the place of another.
        _, found = self._known.get(id(emissions), (None, None))
        if found is None:
            found = [
                (self._columns.setdefault(name, {}), exact(grams))
                for name, grams in (emissions or {}).items()
            ]
            self._known[id(emissions)] = emissions, found
        return found
