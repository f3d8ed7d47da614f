"""Adds up the rows of residual mixes (contract: peers, EnergyTypeService).

A year of two sectors has a hundred and sixty thousand rows with five emissions each. Nearly all answers
have the same columns in all rows, numbers wherever they belong, and an hour's rows together: these are
read and summed column by column, others row by row, which takes three times as long.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, compress, count
from operator import attrgetter, ne, or_, sub
from typing import Any, NamedTuple

import msgspec

from origin.domain.declarations import Mix, ResidualMix, hour_of, unix_s
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
            self.mix.setdefault(place, Mix()).add(technology, _exact(amount), grams)

    def _add_columns(self, columns: Mapping[str, list[Any]], wanted: "_Wanted") -> None:
        """Add up rows that follow one another and have the same time and sector."""
        times, sectors, technologies = (columns[each] for each in (_TIME, _SECTOR, _TECHNOLOGY))
        changes = map(or_, map(ne, times[1:], times), map(ne, sectors[1:], sectors))
        begins = [0, *compress(count(1), changes)]
        ends = [*begins[1:], len(times)]
        amounts = _as_integers(columns[_AMOUNT])
        wh = [int(amount) * amounts.unit for amount in amounts.values]
        names = [name for name in columns if name not in _NO_EMISSIONS]
        totals = []
        for name in names:
            # Others of this process, the next answer's arrival say, go between.
            time.sleep(0)
            totals.append(_as_integers(columns[name]).totals(begins, ends))
        time.sleep(0)
        for begin, end, amount, *grams in zip(
            begins, ends, amounts.totals(begins, ends), *totals, strict=True
        ):
            place = wanted[times[begin], sectors[begin]]
            if place is None:
                continue
            by_technology = dict(zip(technologies[begin:end], wh[begin:end], strict=True))
            emissions = dict(zip(names, grams, strict=True))
            if place not in self.mix and len(by_technology) == end - begin:
                self.mix[place] = Mix(amount, by_technology, emissions)
                continue
            found = self.mix.setdefault(place, Mix())
            for row in range(begin, end):
                found.add(technologies[row], wh[row], {})
            found.add_emissions(emissions)


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


class _Integers(NamedTuple):
    """A column as whole numbers of so many of `exact`'s units.

    They are floats where the sum of all is exact as one.
    """

    values: Sequence[float]
    unit: int

    def totals(self, begins: Sequence[int], ends: Sequence[int]) -> list[int]:
        """The sums of these parts, in `exact`'s units."""
        up_to = list(accumulate(self.values, initial=0))
        sums = map(sub, map(up_to.__getitem__, ends), map(up_to.__getitem__, begins))
        return [int(each) * self.unit for each in sums]


_LARGEST = 2.0**46
"""With so many digits at most, a decimal and the float nearest to it stand for each other."""
_EXACT = 2.0**52
"""Up to this sums of floats are exact, where these are whole numbers."""
_ROUNDING = 1.5 * 2**52
"""A float that this was added to has no fraction any more."""


def _as_integers(column: list[float]) -> _Integers:
    """The exact values of these (`origin.domain.exact.exact`), which mostly have few decimals.

    :raises OverflowError: one is beyond anything that can be meant.
    """
    largest = max(max(column), -min(column))  # noqa: PLW3301 - thousands of arguments
    if not largest < _BEYOND:
        raise OverflowError("a number out of bounds")
    if {*map(type, column)} == {int}:
        return _Integers(column, ONE)
    with_few_digits = _scaled(column, largest, min(_EXACT / len(column), _LARGEST))
    if with_few_digits is not None:
        return with_few_digits
    scaled = _scaled(column, largest, _LARGEST)
    if scaled is not None:
        return _Integers(list(map(int, scaled.values)), scaled.unit)
    return _Integers([exact(number) for number in column], 1)


def _scaled(column: list[float], largest: float, limit: float) -> _Integers | None:
    """These in the smallest unit in which all stay below the limit, if they are whole numbers of it."""
    decimals = 9
    while largest * 10**decimals >= limit:
        if not decimals:
            return None
        decimals -= 1
    scale = 10.0**decimals
    scaled = [(number * scale + _ROUNDING) - _ROUNDING for number in column]
    if [number / scale for number in scaled] != column:
        return None
    return _Integers(scaled, ONE // 10**decimals)


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
