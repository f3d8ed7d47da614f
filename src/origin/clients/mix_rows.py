"""Adds up the rows of residual mixes (contract: peers, EnergyTypeService).

A year of two sectors has a hundred and sixty thousand rows with five emissions each. Nearly all answers
have the same columns in all rows, numbers wherever they belong, and an hour's rows together: these are
read and summed column by column, others row by row, which takes three times as long.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import compress, count, repeat
from operator import attrgetter, mul, ne, or_
from typing import Any, NamedTuple, Self

import msgspec

from origin.domain.consumption import add, hour_of, unix_s
from origin.domain.declarations import Mix, ResidualMix
from origin.domain.exact import ONE, exact

_TIME, _SECTOR, _TECHNOLOGY, _AMOUNT = "timestamp_utc", "sector", "technology", "amount"
_TEXTS = frozenset({_TIME, _SECTOR, _TECHNOLOGY})
_KNOWN = _TEXTS | {_AMOUNT}
_NO_EMISSIONS = _KNOWN | {"share"}
_NUMBERS = frozenset({int, float})
_MAX_COLUMNS = 100
"""Of rows that are read column by column."""
_BEYOND = 1e40
"""More than anything that can be meant."""


class NoMix(ValueError):
    """The answer isn't as documented; nothing that it has is quoted."""


class MixReader:
    """Adds the rows of one answer after the other to `mix`.

    :param sectors: Those wanted; rows of others are passed over, if their numbers aren't out of bounds.
    """

    def __init__(self, sectors: Iterable[str]) -> None:
        self.mix: ResidualMix = {}
        self._sectors = frozenset(sectors)
        self._names: tuple[str, ...] = ()
        """The columns that the answer before had."""

    def add(self, raw: bytes, start: int, stop: int) -> None:
        """Add the answer's rows of hours from `start` on and before `stop`, Unix times.

        :raises NoMix: nothing of the mix is to be used then.
        """
        wanted = _Wanted(self._sectors, start, stop)
        try:
            columns = _columns(raw, self._names)
            if columns is not None:
                self._add_columns(columns, wanted)
                return
            rows = _rows(raw)
            if not rows:
                return
            known, self._names = self._names, tuple(rows[0])
            columns = None if known == self._names else _columns(raw, self._names)
            if columns is not None:
                self._add_columns(columns, wanted)
            else:
                self._add_rows(rows, wanted)
        except (
            msgspec.MsgspecError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            # Not chained: the cause quotes the answer.
            raise NoMix(type(error).__name__) from None

    def _add_rows(self, rows: Sequence[Mapping[str, Any]], wanted: "_Wanted") -> None:
        """Add rows of whatever columns; emissions that are no numbers are none."""
        for row in rows:
            place = wanted[row[_TIME], row[_SECTOR]]
            if place is None:
                continue
            technology, amount = row[_TECHNOLOGY], row[_AMOUNT]
            if type(technology) is not str or type(amount) not in _NUMBERS or amount < 0:
                raise TypeError("technology or amount")
            grams = {
                name: _exact(value)
                for name, value in row.items()
                if name not in _NO_EMISSIONS and type(value) in _NUMBERS
            }
            hour, sector = place
            self.mix.setdefault(sector, Mix()).add(hour, technology, _exact(amount), grams)

    def _add_columns(self, columns: Mapping[str, list[Any]], wanted: "_Wanted") -> None:
        """Add up rows that follow one another and have the same time and sector."""
        times, sectors, technologies = (columns[each] for each in (_TIME, _SECTOR, _TECHNOLOGY))
        changes = map(or_, map(ne, times[1:], times), map(ne, sectors[1:], sectors))
        begins = [0, *compress(count(1), changes)]
        parts = list(zip(begins, [*begins[1:], len(times)], strict=True))
        hours: list[int] = []
        alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        """The parts of a sector that have the same technologies in the same order."""
        for number, (begin, end) in enumerate(parts):
            hour, sector = wanted[times[begin], sectors[begin]] or (0, None)
            hours.append(hour)
            if sector is not None:
                alike.setdefault((sector, tuple(technologies[begin:end])), []).append(number)
        longest = max(end - begin for begin, end in parts)
        numbers = {}
        sums = {}
        for name, column in columns.items():
            if name == _AMOUNT or name not in _NO_EMISSIONS:
                # Others of this process, the next answer's arrival say, go between.
                time.sleep(0)
                numbers[name] = _Numbers.of(column, longest)
                sums[name] = numbers[name].sums(parts)
        amounts, wh = numbers[_AMOUNT], sums.pop(_AMOUNT)
        for (sector, labels), places in alike.items():
            time.sleep(0)
            mix = self.mix.setdefault(sector, Mix())
            at = [hours[place] for place in places]
            add(mix.amounts, at, map(wh.__getitem__, places))
            for name, grams in sums.items():
                add(mix.emissions.setdefault(name, {}), at, map(grams.__getitem__, places))
            for row, label in enumerate(labels):
                made = [amounts.all[begins[place] + row] for place in places]
                add(mix.technologies.setdefault(label, {}), at, amounts.exactly(made))


class _Wanted(dict[tuple[str, str], tuple[int, str] | None]):
    """By a time as it is written, and a sector: the hour's begin and the sector, None if unwanted."""

    def __init__(self, sectors: frozenset[str], start: int, stop: int) -> None:
        super().__init__()
        self._sectors = sectors
        self._hours = range(start, stop)

    def __missing__(self, key: tuple[str, str]) -> tuple[int, str] | None:
        time, sector = key
        hour = hour_of(unix_s(datetime.fromisoformat(time)))
        is_wanted = sector in self._sectors and hour in self._hours
        place = self[key] = (hour, sector) if is_wanted else None
        return place


def _exact(number: float) -> int:
    if not -_BEYOND < number < _BEYOND:
        raise OverflowError("a number out of bounds")
    return exact(number)


_FEW_DIGITS = 2**46
"""With so many digits at most, a decimal and the float nearest to it stand for each other."""
_EXACT = 2**52
"""Below this floats have halves."""
_ROUNDING = 1.5 * _EXACT
"""A float that this was added to has no fraction any more."""


class _Numbers(NamedTuple):
    """A column, and how its numbers come to the exact values of the decimals that they are written as."""

    all: list[float]
    scale: float | None
    """What makes whole numbers of them, but for what floats lose; None where they are such."""
    unit: int
    """Of these whole numbers, in `origin.domain.exact`'s units."""

    @classmethod
    def of(cls, column: list[float], many: int) -> Self:
        """A column of which no more than so many are added up.

        :raises OverflowError: one is beyond anything that can be meant.
        """
        largest = max(max(column), -min(column))  # noqa: PLW3301 - thousands of arguments
        if not largest < _BEYOND:
            raise OverflowError("a number out of bounds")
        if type(column[0]) is int and {*map(type, column)} == {int}:
            return cls(column, None, ONE)
        # A sum is off by as many roundings as it has numbers and two, at most: by less than a half.
        limit = min(_FEW_DIGITS, _EXACT / (many * (many + 2)))
        for decimals in range(9, -1, -1):
            scale = 10.0**decimals
            if largest * scale < limit:
                if _are_whole(column, scale):
                    return cls(column, scale, ONE // 10**decimals)
                break
        return cls([exact(number) for number in column], None, 1)

    def sums(self, parts: Iterable[tuple[int, int]]) -> list[int]:
        """The exact sums of these parts."""
        column = self.all
        return list(self.exactly(sum(column[begin:end]) for begin, end in parts))

    def exactly(self, numbers: Iterable[float]) -> Iterator[int]:
        """The exact values of numbers of the column, or of their sums."""
        if self.scale is not None:
            numbers = map(round, map(mul, numbers, repeat(self.scale)))
        return map(mul, numbers, repeat(self.unit))


def _are_whole(column: list[float], scale: float) -> bool:
    """Whether times this scale they are, as they are written."""
    return not [
        number for number in column if (number * scale + _ROUNDING - _ROUNDING) / scale != number
    ]


def _rows(raw: bytes) -> Sequence[Mapping[str, Any]]:
    """The rows of an answer.

    :raises MsgspecError, TypeError, LookupError: it isn't one.
    """
    answer = msgspec.json.decode(raw)
    rows = answer["mix_emissions"]
    if answer["success"] is not True or not isinstance(rows, list):
        raise TypeError("success or rows")
    return rows


def _columns(raw: bytes, names: tuple[str, ...]) -> Mapping[str, list[Any]] | None:
    """The columns of an answer whose rows all have these, numbers for all amounts and emissions.

    None where it has others, or isn't as documented.
    """
    if not {*names} >= _KNOWN or len(names) > _MAX_COLUMNS:
        return None
    try:
        answer = _decoder(names).decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    rows = answer.mix_emissions
    if answer.success is not True or not rows:
        return None
    columns = {
        name: list(map(attrgetter(attribute), rows)) for name, attribute in _attributes(names)
    }
    return columns if min(columns[_AMOUNT]) >= 0 else None


@lru_cache(maxsize=16)
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """What reads an answer whose rows have these columns, neither more nor fewer.

    :raises ValueError: they are named by what the library can't look for.
    """
    row = msgspec.defstruct(
        "Row",
        [(attribute, _kind(name)) for name, attribute in _attributes(names)],
        rename={attribute: name for name, attribute in _attributes(names)},
        forbid_unknown_fields=True,
        gc=False,
    )
    answer = msgspec.defstruct("Answer", [("mix_emissions", list[row]), ("success", Any)])  # type: ignore[valid-type] # made above
    return msgspec.json.Decoder(answer)


def _kind(column: str) -> Any:
    if column in _TEXTS:
        return str
    return int | float if column == _AMOUNT or column not in _NO_EMISSIONS else msgspec.Raw


def _attributes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Attributes for columns that may have any name."""
    return [(name, f"column_{place}") for place, name in enumerate(names)]
