"""Consumption, and the GGOs that were retired to it (contract: domain.md, Declarations).

Times are Unix seconds. There may be half a million measurements, and as many retired GGOs.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import repeat
from operator import add as plus
from typing import NamedTuple

from origin.declarations.rules.exact import ONE, exact
from origin.ggos.rules.summaries import UNKNOWN

HOUR_S = 3600

Series = dict[int, int]
"""Amounts by the begin of their hour (Unix time)."""


class Measurements(NamedTuple):
    """What a metering point measured: the begins of its periods, each once, and the Wh of each."""

    begins: list[int]
    amounts: list[int]


Consumption = dict[tuple[str, str], Measurements]
"""Measurements by GSRN and sector."""


class RetiredGgo(NamedTuple):
    """A GGO that was retired to a measurement. The fields are in the order of the query's columns."""

    gsrn: str
    begin: int
    amount: int
    """Wh."""
    technology: str | None
    emissions: Mapping[str, Decimal | int] | None
    """g/Wh by name of the emission."""


RetiredRow = tuple[str, int, int, str | None, Mapping[str, Decimal | int] | None]
"""A `RetiredGgo` as a plain tuple: there may be hundreds of thousands."""


@dataclass(slots=True)
class MatchedRetirements:
    """What was retired to measurements, by hour."""

    by_sector: dict[str, Series] = field(default_factory=dict)
    """Wh."""
    technologies: dict[str, Series] = field(default_factory=dict)
    """Wh by technology label, in exact units (`origin.declarations.rules.exact`)."""
    emissions: dict[str, Series] = field(default_factory=dict)
    """g by name, in exact units."""
    exceeded: dict[tuple[str, int], None] = field(default_factory=dict)
    """GSRN and begin of each measurement with more retired to it than it measures now."""


def hour_of(time: int) -> int:
    """Return the begin of the hour that holds this time."""
    return time - time % HOUR_S


def unix_s(time: datetime) -> int:
    """Return the Unix time; a naive time is in UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def add(sums: Series, times: Collection[int], amounts: Iterable[int]) -> None:
    """Add an amount for each time. A time may be in the sums already, and may come more than once."""
    # `map` is lazy: each sum is looked up after the one before is stored.
    sums.update(zip(times, map(plus, map(sums.get, times, repeat(0)), amounts), strict=True))


def increase(columns: dict[str, Series], name: str, hour: int, amount: int) -> None:
    """Add an amount of this hour to the column of this name."""
    sums = columns.get(name)
    if sums is None:
        sums = columns[name] = {}
    sums[hour] = sums.get(hour, 0) + amount


def consumed(consumption: Consumption) -> dict[str, Series]:
    """Return the consumed Wh by sector and hour."""
    by_sector: dict[str, dict[tuple[int, ...], list[list[int]]]] = {}
    for (_, sector), (begins, amounts) in consumption.items():
        by_sector.setdefault(sector, {}).setdefault(tuple(begins), []).append(amounts)
    found: dict[str, Series] = {}
    for sector, alike in by_sector.items():
        sums = found[sector] = {}
        # Most points have measurements of the same periods: they are added together first.
        for times, columns in alike.items():
            add(sums, list(map(hour_of, times)), map(sum, zip(*columns, strict=True)))
    return found


def match(consumption: Consumption, retired: Iterable[RetiredRow]) -> MatchedRetirements:
    """Return what was retired, per measurement up to what it measures.

    :param retired: In the order of retiring, in which GGOs count.
    """
    points = _Points(consumption)
    matched = MatchedRetirements()
    sums = _EmissionSums(matched.emissions)
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
    """The Wh of a metering point, by begin, to which nothing is matched yet.

    They were measured in `sector`, or, for the begins in `sectors`, in that one.
    """

    left: Series
    sector: str
    sectors: dict[int, str]


class _Points(dict[str, _Point]):
    """Metering points by GSRN, each made when it is first looked up."""

    def __init__(self, consumption: Consumption) -> None:
        super().__init__()
        self._series: dict[str, list[tuple[str, Measurements]]] = {}
        for (gsrn, sector), measurements in consumption.items():
            self._series.setdefault(gsrn, []).append((sector, measurements))

    def __missing__(self, gsrn: str) -> _Point:
        (first, measurements), *others = self._series.get(gsrn, [("", Measurements([], []))])
        point = self[gsrn] = _Point(dict(zip(*measurements, strict=True)), first, {})
        # If several sectors have the same begin, the first one counts.
        for sector, (begins, amounts) in others:
            for begin, amount in zip(begins, amounts, strict=True):
                if begin not in point.left:
                    point.left[begin], point.sectors[begin] = amount, sector
        return point


class _EmissionSums:
    """Finds the sums by hour to which a GGO's emissions are added.

    :param columns: The sums by name.
    """

    def __init__(self, columns: dict[str, Series]) -> None:
        self._columns = columns
        self._known: dict[int, tuple[object, list[tuple[Series, int]]]] = {}

    def of(self, emissions: Mapping[str, Decimal | int] | None) -> list[tuple[Series, int]]:
        """Return, for each of these emissions, the sums to add to, and the g/Wh in exact units."""
        # Known by identity: hundreds of thousands of GGOs share a few objects. Each object is kept,
        # so no other one gets the same id.
        _, found = self._known.get(id(emissions), (None, None))
        if found is None:
            found = [
                (self._columns.setdefault(name, {}), exact(grams))
                for name, grams in (emissions or {}).items()
            ]
            self._known[id(emissions)] = emissions, found
        return found
