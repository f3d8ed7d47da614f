"""Environment declarations: what was consumed, and what it emitted (contract: domain.md, Declarations).

Energy is in Wh and emissions are in g, both in exact units (`origin.declarations.rules.exact`). Times
are Unix seconds. A year of hours has a third of a million numbers, so sums go column by column.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import repeat
from math import gcd
from operator import add as plus
from operator import floordiv, mul
from typing import NamedTuple, Self

from origin.declarations.rules.consumption import (
    Consumption,
    MatchedRetirements,
    RetiredRow,
    Series,
    consumed,
    increase,
    match,
)
from origin.declarations.rules.exact import ONE
from origin.shared.periods import Resolution, period_begin

Column = list[int | None]
"""An amount for each period; None where nothing is known, which differs from zero."""


@dataclass(slots=True)
class Mix:
    """The residual mix of one sector, by hour: Wh, Wh by technology, g by name of the emission."""

    amounts: Series = field(default_factory=dict)
    technologies: dict[str, Series] = field(default_factory=dict)
    emissions: dict[str, Series] = field(default_factory=dict)

    def add(self, hour: int, technology: str, amount: int, emissions: Mapping[str, int]) -> None:
        """Add what a technology produced in an hour. Several rows of one technology add up.

        :param amount: Wh in exact units, as `emissions` (g by name).
        """
        self.amounts[hour] = self.amounts.get(hour, 0) + amount
        increase(self.technologies, technology, hour, amount)
        for name, grams in emissions.items():
            increase(self.emissions, name, hour, grams)


ResidualMix = dict[str, Mix]
"""By sector."""


@dataclass(frozen=True)
class Figures:
    """The amounts of successive periods, column by column.

    Consumed, retired and every emission have a number for each period. A technology has None in
    periods without it.
    """

    consumed: list[int]
    retired: list[int]
    emissions: dict[str, list[int]]
    technologies: dict[str, Column]


@dataclass(frozen=True)
class Totals:
    """The sums of all periods."""

    consumed: int
    retired: int
    emissions: dict[str, int]
    technologies: dict[str, int]


@dataclass(frozen=True)
class Declaration:
    """The figures of periods, and their totals."""

    begins: list[datetime]
    """The begins of the periods, in local time and in order."""
    figures: Figures
    total: Totals


@dataclass(frozen=True)
class HourlyDeclarations:
    """Both declarations by hour, and what an operator should know about them."""

    hours: list[int]
    """The declared hours, in order."""
    individual: Figures
    general: Figures
    left_out: list[int]
    """Hours with consumption that no residual mix covers."""
    exceeded: list[tuple[str, int]]
    """GSRN and begin of each measurement with more retired to it than it measures now."""


@dataclass(frozen=True)
class DeclarationQuery:
    """What to declare. Both ends are in UTC and included; local time is `offset` ahead of UTC."""

    gsrns: tuple[str, ...]
    begin: datetime
    end: datetime
    resolution: Resolution
    offset: timedelta


@dataclass(frozen=True)
class EnvironmentDeclaration:
    """Both declarations at the requested resolution, with the same periods, and by hour."""

    individual: Declaration
    general: Declaration
    by_hour: HourlyDeclarations


def declare(
    consumption: Consumption,
    retired: Iterable[RetiredRow],
    mix: ResidualMix,
    sectors: Iterable[str],
) -> HourlyDeclarations:
    """Return the declarations of this consumption, hour by hour.

    :param retired: The GGOs retired to the consumption, in the order of retiring.
    :param sectors: The sectors of the metering points.
    """
    measured = consumed(consumption)
    matched = match(consumption, retired)
    rests = {
        sector: _rest(amounts, matched.by_sector.get(sector, {}))
        for sector, amounts in measured.items()
    }
    hours, left_out = _covered(measured, rests, mix)
    mixes = {sector: _MixColumns.of(each, hours) for sector, each in mix.items()}
    general = _general(hours, [mixes[sector] for sector in sorted(sectors) if sector in mixes])
    individual = _individual(hours, measured, rests, matched, mixes, general.emissions)
    return HourlyDeclarations(hours, individual, general, left_out, list(matched.exceeded))


def by_resolution(query: DeclarationQuery, found: HourlyDeclarations) -> EnvironmentDeclaration:
    """Sum the hours by the query's periods of local time. `ALL` is one period from the query's begin."""
    zone = timezone(query.offset)
    if query.resolution is Resolution.ALL:
        begins = [query.begin.astimezone(zone)] * len(found.hours)
    else:
        begins = [
            period_begin(datetime.fromtimestamp(hour, zone), query.resolution)
            for hour in found.hours
        ]
    starts = [
        place for place, begin in enumerate(begins) if not place or begin != begins[place - 1]
    ]
    individual, general = found.individual, found.general
    if len(starts) < len(begins):
        periods = list(zip(starts, [*starts[1:], len(begins)], strict=True))
        individual, general = _summed(individual, periods), _summed(general, periods)
        begins = [begins[start] for start in starts]
    return EnvironmentDeclaration(
        Declaration(begins, individual, _total(individual)),
        Declaration(begins, general, _total(general)),
        found,
    )


def _rest(amounts: Series, retired: Series) -> Series:
    """Return the Wh that the mix must cover: measured, but not retired."""
    return {
        hour: rest for hour, amount in amounts.items() if (rest := amount - retired.get(hour, 0))
    }


def _covered(
    measured: Mapping[str, Series], rests: Mapping[str, Series], mix: ResidualMix
) -> tuple[list[int], list[int]]:
    """Return the hours to declare and the hours left out, both in order.

    The range shrinks to what the mix covers. An hour within it is left out if any sector has a rest
    there and no mix (contract: domain.md, Declarations).
    """
    covering = [hour for each in mix.values() for hour, amount in each.amounts.items() if amount]
    first, last = min(covering, default=0), max(covering, default=-1)
    gaps: set[int] = set()
    for sector, rest in rests.items():
        covered = mix.get(sector, Mix()).amounts
        gaps.update(hour for hour in rest if not covered.get(hour))
    hours = sorted(hour for hour in set().union(*measured.values()) if first <= hour <= last)
    return [hour for hour in hours if hour not in gaps], [hour for hour in hours if hour in gaps]


class _MixColumns(NamedTuple):
    """A mix's columns for some hours, without columns that are empty in all of them."""

    amounts: Column
    emissions: dict[str, Column]
    technologies: dict[str, Column]

    @classmethod
    def of(cls, mix: Mix, hours: list[int]) -> Self:
        """Return the columns of this mix for these hours."""
        return cls(
            _column(mix.amounts, hours),
            _columns(mix.emissions, hours),
            _columns(mix.technologies, hours),
        )


def _general(hours: list[int], mixes: Iterable[_MixColumns]) -> Figures:
    """Return the general declaration: the residual mix itself."""
    amounts: Column = [0] * len(hours)
    emissions: dict[str, Column] = {}
    technologies: dict[str, Column] = {}
    for mix in mixes:
        amounts = _plus(amounts, mix.amounts)
        _merge(emissions, mix.emissions)
        _merge(technologies, mix.technologies)
    return Figures(_filled(amounts), [0] * len(hours), _all_filled(emissions), technologies)


def _individual(
    hours: list[int],
    measured: Mapping[str, Series],
    rests: Mapping[str, Series],
    matched: MatchedRetirements,
    mixes: Mapping[str, _MixColumns],
    of_mix: Iterable[str],
) -> Figures:
    """Return the individual declaration: what was retired, and the mix's share for the rest.

    :param of_mix: The names of the mix's emissions, all of which appear in each period.
    """
    wh, retired = [0] * len(hours), [0] * len(hours)
    emissions = _columns(matched.emissions, hours)
    technologies = _columns(matched.technologies, hours)
    for sector, amounts in measured.items():
        wh = list(map(plus, wh, map(amounts.get, hours, repeat(0))))
        if sector in mixes:
            share = _Share.of(_column(rests[sector], hours), mixes[sector].amounts)
            _merge(emissions, share.of_each(mixes[sector].emissions))
            _merge(technologies, share.of_each(mixes[sector].technologies))
    for amounts in matched.by_sector.values():
        retired = list(map(plus, retired, map(amounts.get, hours, repeat(0))))
    return Figures(
        consumed=[amount * ONE for amount in wh],
        retired=[amount * ONE for amount in retired],
        emissions=_all_filled(dict.fromkeys(of_mix, _column({}, hours)) | emissions),
        technologies=technologies,
    )


class _Share(NamedTuple):
    """The share of a mix that covers a rest, hour by hour: `wh` of `total`, which is 0 without a rest."""

    wh: list[int]
    total: list[int]

    @classmethod
    def of(cls, rest: Column, amounts: Column) -> Self:
        """Return the rest as a share of these amounts."""
        shares = list(map(_in_lowest_terms, rest, amounts))
        return cls([wh for wh, _ in shares], [total for _, total in shares])

    def of_each(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return this share of each column."""
        return _non_empty({name: self._part(column) for name, column in columns.items()})

    def _part(self, column: Column) -> Column:
        try:
            return list(map(floordiv, map(mul, self.wh, column), self.total))
        except (TypeError, ZeroDivisionError):
            return [
                None if amount is None or not total else wh * amount // total
                for wh, amount, total in zip(self.wh, column, self.total, strict=True)
            ]


def _in_lowest_terms(rest: int | None, amount: int | None) -> tuple[int, int]:
    """Return the fraction rest / amount in lowest terms: divisions by short numbers are faster."""
    if not rest or not amount:
        return 0, 0
    wh = rest * ONE
    common = gcd(wh, amount)
    return wh // common, amount // common


def _column(series: Series, hours: Iterable[int]) -> Column:
    return list(map(series.get, hours))


def _columns(by_name: Mapping[str, Series], hours: Collection[int]) -> dict[str, Column]:
    return _non_empty({name: _column(series, hours) for name, series in by_name.items()})


def _non_empty(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns that have any amount."""
    return {
        name: column
        for name, column in columns.items()
        if any(amount is not None for amount in column)
    }


def _plus(column: Column, more: Column) -> Column:
    """Return the sums of two columns, where None counts as nothing."""
    try:
        return list(map(plus, column, more))
    except TypeError:
        return [
            each if other is None else other if each is None else each + other
            for each, other in zip(column, more, strict=True)
        ]


def _merge(columns: dict[str, Column], more: Mapping[str, Column]) -> None:
    """Add `more` to the columns of the same names."""
    for name, column in more.items():
        columns[name] = _plus(columns[name], column) if name in columns else column


def _filled(column: Column) -> list[int]:
    return [amount or 0 for amount in column]


def _all_filled(columns: Mapping[str, Column]) -> dict[str, list[int]]:
    return {name: _filled(column) for name, column in sorted(columns.items())}


def _summed(figures: Figures, periods: Collection[tuple[int, int]]) -> Figures:
    """Return the sums of periods, given as the places of their first hour and after their last."""

    def sums(column: list[int]) -> list[int]:
        return [sum(column[begin:end]) for begin, end in periods]

    def sums_of_known(column: Column) -> Column:
        parts = ([each for each in column[begin:end] if each is not None] for begin, end in periods)
        return [sum(part) if part else None for part in parts]

    return Figures(
        consumed=sums(figures.consumed),
        retired=sums(figures.retired),
        emissions={name: sums(column) for name, column in figures.emissions.items()},
        technologies={
            label: sums_of_known(column) for label, column in figures.technologies.items()
        },
    )


def _total(figures: Figures) -> Totals:
    return Totals(
        consumed=sum(figures.consumed),
        retired=sum(figures.retired),
        emissions={name: sum(column) for name, column in figures.emissions.items()},
        technologies={
            label: sum(filter(None, column)) for label, column in figures.technologies.items()
        },
    )
