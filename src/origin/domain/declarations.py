"""Environment declarations: what was consumed, emitted (contract: domain, Declarations).

Energy is in Wh and emissions are in g, both exact (`origin.domain.exact`); times are Unix seconds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import NamedTuple

from origin.domain.exact import ONE, exact, share

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


@dataclass
class Mix:
    """The residual mix of one sector in one hour."""

    amount: int = 0
    technologies: dict[str, int] = field(default_factory=dict)
    emissions: dict[str, int] = field(default_factory=dict)

    def add(self, technology: str, amount: int, emissions: Mapping[str, int]) -> None:
        """Add what a technology made; a second time adds up."""
        self.amount += amount
        self.technologies[technology] = self.technologies.get(technology, 0) + amount
        _add(self.emissions, emissions)


ResidualMix = dict[tuple[int, str], Mix]
"""By begin of the hour, and sector."""


@dataclass
class Period:
    """What is declared of a span of time; emissions in g."""

    consumed: int = 0
    retired: int = 0
    emissions: dict[str, int] = field(default_factory=dict)
    technologies: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Period") -> None:
        """Make it the sum of both."""
        self.consumed += other.consumed
        self.retired += other.retired
        _add(self.emissions, other.emissions)
        _add(self.technologies, other.technologies)


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


def declare(
    consumption: Consumption, retired: Iterable[Retired], mix: ResidualMix, sectors: Iterable[str]
) -> Declarations:
    """The declarations of this consumption, hour by hour.

    :param retired: To the consumption, in the order of retiring.
    :param sectors: Of the metering points.
    """
    covering = [hour for (hour, sector), each in mix.items() if each.amount]
    first, last = min(covering, default=0), max(covering, default=-1)
    by_hour = _consumed_by_hour(consumption, first, last)
    matched, exceeded = _match(consumption, retired)
    individual: dict[int, Period] = {}
    general: dict[int, Period] = {}
    left_out = []
    in_order = sorted(sectors)
    for hour in sorted(by_hour):
        own = _individual(hour, by_hour[hour], matched.get(hour), mix)
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
    periods: dict[datetime, Period] = {}
    total = Period()
    for hour, period in hours.items():
        periods.setdefault(key(datetime.fromtimestamp(hour, zone)), Period()).add(period)
    for period in periods.values():
        total.add(period)
    return Declaration(periods, total)


def hour_of(time: int) -> int:
    """The begin of the hour that holds it."""
    return time - time % HOUR_S


def unix_s(time: datetime) -> int:
    """Its Unix time; a time without an offset is in UTC."""
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


@dataclass
class _Matched:
    """What was retired to an hour's measurements."""

    period: Period = field(default_factory=Period)
    by_sector: dict[str, int] = field(default_factory=dict)


def _consumed_by_hour(consumption: Consumption, first: int, last: int) -> dict[int, dict[str, int]]:
    """Wh by hour and sector, of the hours from first to last."""
    found: dict[int, dict[str, int]] = {}
    for (_, sector), measurements in consumption.items():
        for begin, amount in measurements.items():
            hour = begin - begin % HOUR_S
            if first <= hour <= last:
                sums = found.setdefault(hour, {})
                sums[sector] = sums.get(sector, 0) + amount
    return found


def _match(
    consumption: Consumption, retired: Iterable[Retired]
) -> tuple[dict[int, _Matched], list[tuple[str, int]]]:
    """By hour: what was retired, up to what is measured; and where it was more than that."""
    left: dict[tuple[str, int], int] = {}
    matched: dict[int, _Matched] = {}
    exceeded: dict[tuple[str, int], None] = {}
    per_wh: dict[float, int] = {}
    sectors: dict[str, list[str]] = {}
    for point, its_sector in consumption:
        sectors.setdefault(point, []).append(its_sector)
    for gsrn, begin, amount, technology, emissions in retired:
        place = gsrn, begin
        sector = _sector(consumption, sectors.get(gsrn, ()), gsrn, begin)
        rest = left.get(place)
        if rest is None:
            rest = consumption[gsrn, sector].get(begin, 0) if sector else 0
        used = min(amount, rest)
        left[place] = rest - used
        if used < amount:
            exceeded[place] = None
        if not used or sector is None:
            continue
        hour = matched.setdefault(begin - begin % HOUR_S, _Matched())
        hour.by_sector[sector] = hour.by_sector.get(sector, 0) + used
        _retire(hour.period, used, technology or UNKNOWN, emissions or {}, per_wh)
    return matched, list(exceeded)


def _sector(consumption: Consumption, sectors: Iterable[str], gsrn: str, begin: int) -> str | None:
    """The sector of the measurement of this point and begin."""
    for sector in sectors:
        if begin in consumption[gsrn, sector]:
            return sector
    return None


def _retire(
    period: Period,
    amount: int,
    technology: str,
    emissions: Mapping[str, float],
    per_wh: dict[float, int],
) -> None:
    """Add so many Wh; `per_wh` remembers exact values, of which there are few."""
    period.retired += amount * ONE
    period.technologies[technology] = period.technologies.get(technology, 0) + amount * ONE
    for name, grams in emissions.items():
        if grams not in per_wh:
            per_wh[grams] = exact(grams)
        period.emissions[name] = period.emissions.get(name, 0) + amount * per_wh[grams]


def _individual(
    hour: int, consumed: Mapping[str, int], matched: _Matched | None, mix: ResidualMix
) -> Period | None:
    """The hour, or None where the mix doesn't cover what isn't retired."""
    matched = matched or _Matched()
    period = Period()
    period.add(matched.period)
    for sector, amount in consumed.items():
        period.consumed += amount * ONE
        rest = (amount - matched.by_sector.get(sector, 0)) * ONE
        covering = mix.get((hour, sector))
        if rest and (covering is None or not covering.amount):
            return None
        if rest and covering is not None:
            _cover(period, rest, covering)
    return period


def _cover(period: Period, rest: int, mix: Mix) -> None:
    """Take the rest from the mix."""
    for name, grams in mix.emissions.items():
        period.emissions[name] = period.emissions.get(name, 0) + share(rest, grams, mix.amount)
    for label, amount in mix.technologies.items():
        period.technologies[label] = period.technologies.get(label, 0) + share(
            rest, amount, mix.amount
        )


def _general(hour: int, sectors: Iterable[str], mix: ResidualMix) -> Period:
    period = Period()
    for sector in sectors:
        each = mix.get((hour, sector))
        if each is not None:
            period.add(Period(each.amount, 0, each.emissions, each.technologies))
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
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value
