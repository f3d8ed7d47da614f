"""Environment declarations: what was consumed, emitted (contract: domain, Declarations).

Energy is in Wh and emissions are in g, both exact (`origin.domain.exact`); times are Unix seconds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from math import gcd
from typing import NamedTuple, TypeVar

from origin.domain.exact import ONE, exact

K = TypeVar("K")

HOUR_S = 3600
UNKNOWN = "Unknown"
"""The technology of a GGO whose codes have no label."""

Consumption = dict[tuple[str, str], dict[int, int]]
"""By GSRN and sector: the measured Wh by begin."""


class Resolution(Enum):
    """How long the periods of a declaration are, in local time."""

    ALL = "all"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"


class Retired(NamedTuple):
    """A GGO that was retired to a measurement; in the order of the query's columns."""

    gsrn: str
    begin: int
    amount: int
    technology: str | None
    emissions: Mapping[str, float] | None
    """g/Wh by name of the emission."""


RetiredRow = tuple[str, int, int, str | None, Mapping[str, float] | None]
"""The same without names, of which there may be hundreds of thousands."""


@dataclass(slots=True)
class Mix:
    """The residual mix of one sector in one hour."""

    amount: int = 0
    technologies: dict[str, int] = field(default_factory=dict)
    emissions: dict[str, int] = field(default_factory=dict)

    def add(self, technology: str, amount: int, emissions: Mapping[str, int]) -> None:
        """Add what a technology made; a second time adds up."""
        self.amount += amount
        self.technologies[technology] = self.technologies.get(technology, 0) + amount
        self.add_emissions(emissions)

    def add_emissions(self, emissions: Mapping[str, int]) -> None:
        """Add grams that aren't told apart by technology."""
        _add(self.emissions, emissions)


ResidualMix = dict[tuple[int, str], Mix]
"""By begin of the hour, and sector."""


@dataclass(slots=True)
class Period:
    """What is declared of a span of time; emissions in g."""

    consumed: int = 0
    retired: int = 0
    emissions: dict[str, int] = field(default_factory=dict)
    technologies: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    """Periods by local begin, in order, and their total. Each has a number for every emission."""

    periods: dict[datetime, Period]
    total: Period


@dataclass(frozen=True)
class Declarations:
    """Both declarations, by hour, and what an operator should know about them."""

    individual: dict[int, Period]
    general: dict[int, Period]
    left_out: list[int]
    """Hours with consumption that no mix covers."""
    exceeded: list[tuple[str, int]]
    """GSRN and begin of measurements that more was retired to than they measure now."""


@dataclass(frozen=True)
class Question:
    """What to declare. Times in UTC, both ends included; `offset` makes local time of them."""

    gsrns: tuple[str, ...]
    begin: datetime
    end: datetime
    resolution: Resolution
    offset: timedelta


@dataclass(frozen=True)
class Answer:
    """Both declarations at the resolution asked for, and by hour."""

    individual: Declaration
    general: Declaration
    hours: Declarations


def declare(
    consumption: Consumption,
    retired: Iterable[RetiredRow],
    mix: ResidualMix,
    sectors: Iterable[str],
) -> Declarations:
    """The declarations of this consumption, hour by hour.

    :param retired: To the consumption, in the order of retiring.
    :param sectors: Of the metering points.
    """
    covering = [hour for (hour, _), each in mix.items() if each.amount]
    first, last = min(covering, default=0), max(covering, default=-1)
    consumed = _consumed(consumption)
    matched, exceeded = _match(consumption, retired)
    individual: dict[int, Period] = {}
    general: dict[int, Period] = {}
    left_out = []
    in_order = sorted(sectors)
    for hour in sorted(hour for hour in set().union(*consumed.values()) if first <= hour <= last):
        own = _individual(hour, consumed, matched.get(hour), mix)
        if own is None:
            left_out.append(hour)
            continue
        individual[hour] = own
        general[hour] = _general(hour, in_order, mix)
    _name_all_emissions(individual.values(), general.values())
    return Declarations(individual, general, left_out, exceeded)


def by_resolution(
    hours: Mapping[int, Period], resolution: Resolution, begin: datetime, offset: timedelta
) -> Declaration:
    """Sum hours up, by the local time of this offset.

    :param begin: Of the range: what `all` is keyed by.
    """
    zone = timezone(offset)
    key = _truncation(resolution, begin.astimezone(zone))
    groups: dict[datetime, list[Period]] = {}
    for hour, period in hours.items():
        groups.setdefault(key(datetime.fromtimestamp(hour, zone)), []).append(period)
    periods = {begin: _sum(group) for begin, group in groups.items()}
    return Declaration(periods, _sum(list(periods.values())))


def _sum(periods: Sequence[Period]) -> Period:
    if len(periods) == 1:
        return periods[0]
    return Period(
        consumed=sum(period.consumed for period in periods),
        retired=sum(period.retired for period in periods),
        emissions=_added(period.emissions for period in periods),
        technologies=_added(period.technologies for period in periods),
    )


def _added(amounts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """The sums by key; of mappings with the same keys, which most have, in one go."""
    alike: dict[tuple[K, ...], list[Iterable[int]]] = {}
    for each in amounts:
        alike.setdefault(tuple(each), []).append(each.values())
    total: dict[K, int] = {}
    for keys, values in alike.items():
        for key, value in zip(keys, map(sum, zip(*values, strict=True)), strict=True):
            total[key] = total.get(key, 0) + value
    return total


def hour_of(time: int) -> int:
    """The begin of the hour that holds it."""
    return time - time % HOUR_S


def unix_s(time: datetime) -> int:
    """Its Unix time; a time without an offset is in UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


@dataclass(slots=True)
class _Matched:
    """What was retired to an hour's measurements."""

    period: Period = field(default_factory=Period)
    by_sector: dict[str, int] = field(default_factory=dict)


def _consumed(consumption: Consumption) -> dict[str, dict[int, int]]:
    """Wh by sector and hour."""
    by_sector: dict[str, list[dict[int, int]]] = {}
    for (_, sector), measurements in consumption.items():
        by_sector.setdefault(sector, []).append(measurements)
    found = {}
    for sector, series in by_sector.items():
        sums: dict[int, int] = {}
        for begin, amount in _added(series).items():
            hour = hour_of(begin)
            sums[hour] = sums.get(hour, 0) + amount
        found[sector] = sums
    return found


def _match(
    consumption: Consumption, retired: Iterable[RetiredRow]
) -> tuple[dict[int, _Matched], list[tuple[str, int]]]:
    """By hour: what was retired, up to what is measured; and where it was more than that."""
    points: dict[str, dict[str, dict[int, int]]] = {}
    for (point, its_sector), measurements in consumption.items():
        points.setdefault(point, {})[its_sector] = measurements
    left: dict[tuple[str, int], int] = {}
    matched: dict[int, _Matched] = {}
    exceeded: dict[tuple[str, int], None] = {}
    exactly = _Exactly()
    for gsrn, begin, amount, technology, emissions in retired:
        sector, measured = _measured(points.get(gsrn, {}), begin)
        rest = left.get((gsrn, begin), measured)
        used = min(rest, amount)
        left[gsrn, begin] = rest - used
        if used < amount:
            exceeded[gsrn, begin] = None
        if not used:
            continue
        hour = begin - begin % HOUR_S
        there = matched.get(hour)
        if there is None:
            there = matched[hour] = _Matched()
        there.by_sector[sector] = there.by_sector.get(sector, 0) + used
        _retire(there.period, used, technology or UNKNOWN, emissions or {}, exactly)
    return matched, list(exceeded)


class _Exactly(dict[float, int]):
    """Exact values of g/Wh, of which there are few."""

    def __missing__(self, number: float) -> int:
        value = self[number] = exact(number)
        return value


def _measured(sectors: Mapping[str, Mapping[int, int]], begin: int) -> tuple[str, int]:
    """The sector and Wh of a point's measurement; 0 where there is none."""
    for sector, measurements in sectors.items():
        if begin in measurements:
            return sector, measurements[begin]
    return "", 0


def _retire(
    period: Period,
    amount: int,
    technology: str,
    emissions: Mapping[str, float],
    exactly: Mapping[float, int],
) -> None:
    """Add so many Wh."""
    wh = amount * ONE
    period.retired += wh
    period.technologies[technology] = period.technologies.get(technology, 0) + wh
    sums = period.emissions
    for name, grams in emissions.items():
        sums[name] = sums.get(name, 0) + amount * exactly[grams]


def _individual(
    hour: int, consumed: Mapping[str, Mapping[int, int]], matched: _Matched | None, mix: ResidualMix
) -> Period | None:
    """The hour, or None where the mix doesn't cover what isn't retired."""
    period = Period() if matched is None else matched.period
    for sector, hours in consumed.items():
        if hour not in hours:
            continue
        amount = hours[hour]
        period.consumed += amount * ONE
        rest = amount - (matched.by_sector.get(sector, 0) if matched else 0)
        if not rest:
            continue
        covering = mix.get((hour, sector))
        if covering is None or not covering.amount:
            return None
        _cover(period, rest * ONE, covering)
    return period


def _cover(period: Period, rest: int, mix: Mix) -> None:
    """Take the rest from the mix."""
    # In lowest terms the numbers are short, and the divisions quick.
    common = gcd(rest, mix.amount)
    share, total = rest // common, mix.amount // common
    for sums, parts in (
        (period.emissions, mix.emissions),
        (period.technologies, mix.technologies),
    ):
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + share * value // total


def _general(hour: int, sectors: Iterable[str], mix: ResidualMix) -> Period:
    period = Period()
    for sector in sectors:
        each = mix.get((hour, sector))
        if each is not None:
            period.consumed += each.amount
            _add(period.emissions, each.emissions)
            _add(period.technologies, each.technologies)
    return period


def _name_all_emissions(individual: Iterable[Period], general: Iterable[Period]) -> None:
    """Give each period a number for every emission: the mix's, and in the individual the GGOs'."""
    individual, general = list(individual), list(general)
    of_mix = dict.fromkeys(name for period in general for name in period.emissions)
    of_both = of_mix | dict.fromkeys(name for period in individual for name in period.emissions)
    for names, periods in ((of_both, individual), (of_mix, general)):
        none = dict.fromkeys(sorted(names), 0)
        for period in periods:
            period.emissions = none | period.emissions


def _truncation(resolution: Resolution, begin: datetime) -> Callable[[datetime], datetime]:
    """What finds the begin of the period that holds an hour."""
    match resolution:
        case Resolution.ALL:
            return lambda _: begin
        case Resolution.YEAR:
            return lambda time: time.replace(month=1, day=1, hour=0)
        case Resolution.MONTH:
            return lambda time: time.replace(day=1, hour=0)
        case Resolution.DAY:
            return lambda time: time.replace(hour=0)
        case Resolution.HOUR:
            return lambda time: time


def _add(sums: dict[str, int], more: Mapping[str, int]) -> None:
    if not sums:
        sums.update(more)
        return
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value
