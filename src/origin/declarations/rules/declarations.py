"""Environment declarations: what was consumed, emitted (contract: domain, Declarations).

Energy is in Wh and emissions are in g, both exact (`origin.declarations.rules.exact`); times are Unix seconds. A year
of hours has a third of a million numbers: they are reckoned with column by column.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import repeat
from math import gcd
from operator import add as plus
from operator import floordiv, mul
from typing import NamedTuple, Self

from origin.declarations.rules.consumption import (
    Consumption,
    Matched,
    RetiredRow,
    Series,
    consumed,
    increase,
    match,
)
from origin.declarations.rules.exact import ONE

Column = list[int | None]
"""An amount for each span of time; None where there is nothing to tell of, not even a zero."""


class Resolution(Enum):
    """How long the periods of a declaration are, in local time."""

    ALL = "all"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"


@dataclass(slots=True)
class Mix:
    """The residual mix of one sector, hour by hour."""

    amounts: Series = field(default_factory=dict)
    technologies: dict[str, Series] = field(default_factory=dict)
    emissions: dict[str, Series] = field(default_factory=dict)

    def add(self, hour: int, technology: str, amount: int, emissions: Mapping[str, int]) -> None:
        """Add what a technology made in an hour; a second time adds up."""
        self.amounts[hour] = self.amounts.get(hour, 0) + amount
        increase(self.technologies, technology, hour, amount)
        for name, grams in emissions.items():
            increase(self.emissions, name, hour, grams)


ResidualMix = dict[str, Mix]
"""By sector."""


@dataclass(frozen=True)
class Figures:
    """What is declared of spans of time, in their order, column by column.

    Consumed, retired and every emission have a number for each span, a technology for those that have it.
    """

    consumed: list[int]
    retired: list[int]
    emissions: dict[str, list[int]]
    technologies: dict[str, Column]


@dataclass(frozen=True)
class Total:
    """The sums of all spans."""

    consumed: int
    retired: int
    emissions: dict[str, int]
    technologies: dict[str, int]


@dataclass(frozen=True)
class Declaration:
    """The figures of periods, and their total."""

    begins: list[datetime]
    """Of the periods, in local time and in order."""
    figures: Figures
    total: Total


@dataclass(frozen=True)
class Declarations:
    """Both declarations, by hour, and what an operator should know about them."""

    hours: list[int]
    """Those that are declared, in order."""
    individual: Figures
    general: Figures
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
    """Both declarations at the resolution asked for, of the same periods; and by hour."""

    individual: Declaration
    general: Declaration
    by_hour: Declarations


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
    measured = consumed(consumption)
    matched = match(consumption, retired)
    rests = {
        sector: _rest(amounts, matched.by_sector.get(sector, {}))
        for sector, amounts in measured.items()
    }
    hours, left_out = _covered(measured, rests, mix)
    mixes = {sector: _Aligned.of(each, hours) for sector, each in mix.items()}
    general = _general(hours, [mixes[sector] for sector in sorted(sectors) if sector in mixes])
    individual = _individual(hours, measured, rests, matched, mixes, general.emissions)
    return Declarations(hours, individual, general, left_out, list(matched.exceeded))


def by_resolution(question: Question, found: Declarations) -> Answer:
    """Sum the hours up, by local time, as the question has it."""
    zone = timezone(question.offset)
    truncated = _truncation(question.resolution, question.begin.astimezone(zone))
    begins = [truncated(datetime.fromtimestamp(hour, zone)) for hour in found.hours]
    starts = [
        place for place, begin in enumerate(begins) if not place or begin != begins[place - 1]
    ]
    individual, general = found.individual, found.general
    if len(starts) < len(begins):
        periods = list(zip(starts, [*starts[1:], len(begins)], strict=True))
        individual, general = _summed(individual, periods), _summed(general, periods)
        begins = [begins[start] for start in starts]
    return Answer(
        Declaration(begins, individual, _total(individual)),
        Declaration(begins, general, _total(general)),
        found,
    )


def _rest(amounts: Series, retired: Series) -> Series:
    """The Wh that the mix is to cover."""
    return {
        hour: rest for hour, amount in amounts.items() if (rest := amount - retired.get(hour, 0))
    }


def _covered(
    measured: Mapping[str, Series], rests: Mapping[str, Series], mix: ResidualMix
) -> tuple[list[int], list[int]]:
    """The hours to declare, in order; and those left out, where the mix lacks what isn't retired."""
    covering = [hour for each in mix.values() for hour, amount in each.amounts.items() if amount]
    first, last = min(covering, default=0), max(covering, default=-1)
    gaps: set[int] = set()
    for sector, rest in rests.items():
        there = mix.get(sector, Mix()).amounts
        gaps.update(hour for hour in rest if not there.get(hour))
    hours = sorted(hour for hour in set().union(*measured.values()) if first <= hour <= last)
    return [hour for hour in hours if hour not in gaps], [hour for hour in hours if hour in gaps]


class _Aligned(NamedTuple):
    """A mix's columns for some hours; those that have nothing in any of them are left out."""

    amounts: Column
    emissions: dict[str, Column]
    technologies: dict[str, Column]

    @classmethod
    def of(cls, mix: Mix, hours: list[int]) -> Self:
        """This mix for these hours."""
        return cls(
            _column(mix.amounts, hours),
            _columns(mix.emissions, hours),
            _columns(mix.technologies, hours),
        )


def _general(hours: list[int], mixes: Iterable[_Aligned]) -> Figures:
    """The residual mix itself."""
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
    matched: Matched,
    mixes: Mapping[str, _Aligned],
    of_mix: Iterable[str],
) -> Figures:
    """What was retired, and of the mix what it covers.

    :param of_mix: Its emissions, all of which are told in each span.
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
    """What part of a mix covers a rest, hour by hour: `wh` of `total`, which is 0 where there is no rest."""

    wh: list[int]
    total: list[int]

    @classmethod
    def of(cls, rest: Column, amounts: Column) -> Self:
        """What part of these amounts the rest is."""
        shares = list(map(_in_lowest_terms, rest, amounts))
        return cls([wh for wh, _ in shares], [total for _, total in shares])

    def of_each(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """This part of each column."""
        return _there({name: self._part(column) for name, column in columns.items()})

    def _part(self, column: Column) -> Column:
        try:
            return list(map(floordiv, map(mul, self.wh, column), self.total))
        except (TypeError, ZeroDivisionError):
            return [
                None if amount is None or not total else wh * amount // total
                for wh, amount, total in zip(self.wh, column, self.total, strict=True)
            ]


def _in_lowest_terms(rest: int | None, amount: int | None) -> tuple[int, int]:
    """Short numbers, with which divisions are quick."""
    if not rest or not amount:
        return 0, 0
    wh = rest * ONE
    common = gcd(wh, amount)
    return wh // common, amount // common


def _column(series: Series, hours: Iterable[int]) -> Column:
    return list(map(series.get, hours))


def _columns(by_name: Mapping[str, Series], hours: Collection[int]) -> dict[str, Column]:
    return _there({name: _column(series, hours) for name, series in by_name.items()})


def _there(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Those that have anything at all."""
    return {
        name: column
        for name, column in columns.items()
        if any(amount is not None for amount in column)
    }


def _plus(column: Column, more: Column) -> Column:
    try:
        return list(map(plus, column, more))
    except TypeError:
        return [
            each if other is None else other if each is None else each + other
            for each, other in zip(column, more, strict=True)
        ]


def _merge(columns: dict[str, Column], more: Mapping[str, Column]) -> None:
    for name, column in more.items():
        columns[name] = _plus(columns[name], column) if name in columns else column


def _filled(column: Column) -> list[int]:
    return [amount or 0 for amount in column]


def _all_filled(columns: Mapping[str, Column]) -> dict[str, list[int]]:
    return {name: _filled(column) for name, column in sorted(columns.items())}


def _summed(figures: Figures, periods: Collection[tuple[int, int]]) -> Figures:
    """Of periods, which begin and end at these places, instead of hours."""

    def sums(column: list[int]) -> list[int]:
        return [sum(column[begin:end]) for begin, end in periods]

    def sums_there(column: Column) -> Column:
        parts = ([each for each in column[begin:end] if each is not None] for begin, end in periods)
        return [sum(part) if part else None for part in parts]

    return Figures(
        consumed=sums(figures.consumed),
        retired=sums(figures.retired),
        emissions={name: sums(column) for name, column in figures.emissions.items()},
        technologies={label: sums_there(column) for label, column in figures.technologies.items()},
    )


def _total(figures: Figures) -> Total:
    return Total(
        consumed=sum(figures.consumed),
        retired=sum(figures.retired),
        emissions={name: sum(column) for name, column in figures.emissions.items()},
        technologies={
            label: sum(filter(None, column)) for label, column in figures.technologies.items()
        },
    )


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
