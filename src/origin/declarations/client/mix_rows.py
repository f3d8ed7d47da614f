"""Adds up the rows of residual mixes (contract: peers, EnergyTypeService).

A year of two sectors has a hundred and sixty thousand rows with five emissions each. Nearly all answers
have few columns, numbers or nothing wherever they belong, and an hour's rows together: these are read and
summed column by column, others row by row, which takes two to three times as long.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain, compress, count, repeat
from operator import attrgetter, mul, ne, or_
from typing import Any, NamedTuple, Self

import msgspec

from origin.declarations.rules.consumption import Series, add, hour_of, unix_s
from origin.declarations.rules.declarations import Mix, ResidualMix
from origin.declarations.rules.exact import ONE, exact

_TIME, _SECTOR, _TECHNOLOGY, _AMOUNT = "timestamp_utc", "sector", "technology", "amount"
_TEXTS = frozenset({_TIME, _SECTOR, _TECHNOLOGY})
_KNOWN = _TEXTS | {_AMOUNT}
_NO_EMISSIONS = _KNOWN | {"share"}
_NUMBERS = frozenset({int, float})
_AT_ONCE = 4000
"""Rows of which a column stays in a processor's cache: it is gone through several times."""
_FIRST_ROWS = 100
"""Of an answer, to learn its columns from."""
_MAX_COLUMNS = 100
"""Of rows that are read column by column."""
_MAX_NAMES = 300
"""Of technologies, and of emissions; the contract knows a dozen of both."""
_BEYOND = 1e40
"""More than anything that can be meant."""


class _Answer(msgspec.Struct):
    mix_emissions: list[msgspec.Raw]


_raw_answer = msgspec.json.Decoder(_Answer)


class NoMix(ValueError):
    """The answer isn't as documented; nothing that it has is quoted."""


class MixReader:
    """Adds the rows of one answer after the other to `mix`.

    :param sectors: Those wanted; rows of others are passed over. Where these aren't as documented, the
        answer may be refused.
    """

    def __init__(self, sectors: Iterable[str]) -> None:
        self.mix: ResidualMix = {}
        self._sectors = frozenset(sectors)
        self._names: tuple[str, ...] = ()
        """The columns that answers had so far."""

    def add(self, raw: bytes, start: int, stop: int) -> None:
        """Add the answer's rows of hours from `start` on and before `stop`, Unix times.

        :raises NoMix: nothing of the mix is to be used then.
        """
        hours = _Hours(range(start, stop))
        try:
            rows = _alike(raw, self._names) or _alike(raw, self._names_with(_first_rows(raw)))
            if rows is None:
                others = _rows(raw)
                self._names_with(others)
                self._add_rows(others, hours)
            else:
                for first in range(0, len(rows), _AT_ONCE):
                    self._add_columns(_columns(rows[first : first + _AT_ONCE], self._names), hours)
            self._bound_names()
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

    def _names_with(self, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """All columns, now that there are these rows too."""
        self._names = tuple(dict.fromkeys((*self._names, *chain.from_iterable(rows))))
        return self._names

    def _bound_names(self) -> None:
        """Refuse what no mix has: each name is a column of all hours."""
        for mix in self.mix.values():
            if max(len(mix.technologies), len(mix.emissions)) > _MAX_NAMES:
                raise ValueError("names")

    def _add_rows(self, rows: Sequence[Mapping[str, Any]], hours: "_Hours") -> None:
        """Add rows of whatever columns; emissions that are no numbers are none."""
        for row in rows:
            hour, sector = hours[row[_TIME]], row[_SECTOR]
            if type(sector) is not str:
                raise TypeError("sector")
            if sector not in self._sectors or hour is None:
                continue
            technology, amount = row[_TECHNOLOGY], row[_AMOUNT]
            if type(technology) is not str or type(amount) not in _NUMBERS or amount < 0:
                raise TypeError("technology or amount")
            grams = {
                name: _exact(value)
                for name, value in row.items()
                if name not in _NO_EMISSIONS and type(value) in _NUMBERS
            }
            self.mix.setdefault(sector, Mix()).add(hour, technology, _exact(amount), grams)

    def _add_columns(self, columns: Mapping[str, list[Any]], hours: "_Hours") -> None:
        """Add up rows that follow one another and have the same time and sector."""
        # Others of this process, the next answer's arrival say, go between.
        time.sleep(0)
        if min(columns[_AMOUNT]) < 0:
            raise ValueError("amount")
        alike = self._alike_hours(columns, hours)
        most_rows = max((len(each.technologies) for each in alike), default=1)
        numbers = {
            name: _Numbers.of(column, most_rows)
            for name, column in columns.items()
            if name == _AMOUNT or name not in _NO_EMISSIONS
        }
        amounts = numbers.pop(_AMOUNT)
        for each in alike:
            each.add_to(self.mix.setdefault(each.sector, Mix()), amounts, numbers)

    def _alike_hours(
        self, columns: Mapping[str, list[Any]], hours: "_Hours"
    ) -> Collection["_AlikeHours"]:
        """The hours that are wanted, each of rows that follow one another, by their technologies."""
        times, sectors, technologies = (columns[each] for each in (_TIME, _SECTOR, _TECHNOLOGY))
        changes = map(or_, map(ne, times[1:], times), map(ne, sectors[1:], sectors))
        begins = [0, *compress(count(1), changes)]
        found: dict[tuple[str, ...], _AlikeHours] = {}
        before: dict[str, _AlikeHours] = {}
        for begin, end in zip(begins, [*begins[1:], len(times)], strict=True):
            hour, sector = hours[times[begin]], sectors[begin]
            if sector not in self._sectors or hour is None:
                continue
            labels = technologies[begin:end]
            alike = before.get(sector)
            if alike is None or alike.technologies != labels:
                new = _AlikeHours(sector, labels)
                alike = before[sector] = found.setdefault((sector, *labels), new)
            alike.hours.append(hour)
            alike.rows.append((begin, end))
        return found.values()


@dataclass(slots=True)
class _AlikeHours:
    """Hours of a sector that have the same technologies in the same order."""

    sector: str
    technologies: list[str]
    hours: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)
    """Where those of each hour begin and end."""

    def add_to(self, mix: Mix, amounts: "_Numbers", emissions: Mapping[str, "_Numbers"]) -> None:
        """Add these rows' numbers to a sector's mix."""
        put = _put if self._are_new(mix) else add
        put(mix.amounts, self.hours, amounts.sums(self.rows))
        for name, grams in emissions.items():
            there = grams.there(self.rows)
            hours = list(compress(self.hours, there))
            put(mix.emissions.setdefault(name, {}), hours, grams.sums(compress(self.rows, there)))
        for place, label in enumerate(self.technologies):
            wh = amounts.exactly([amounts.all[begin + place] for begin, _ in self.rows])
            put(mix.technologies.setdefault(label, {}), self.hours, wh)

    def _are_new(self, mix: Mix) -> bool:
        """Whether each hour and technology is here once, and not in the mix."""
        once = all(len({*each}) == len(each) for each in (self.hours, self.technologies))
        return once and mix.amounts.keys().isdisjoint(self.hours)


def _put(series: Series, times: Iterable[int], amounts: Iterable[int]) -> None:
    """What `add` comes to for times that are new, and quicker."""
    series.update(zip(times, amounts, strict=True))


class _Hours(dict[str, int | None]):
    """The begins of hours by times as they are written; None for those that aren't wanted."""

    def __init__(self, wanted: range) -> None:
        super().__init__()
        self._wanted = wanted

    def __missing__(self, text: str) -> int | None:
        hour = hour_of(unix_s(datetime.fromisoformat(text)))
        self[text] = found = hour if hour in self._wanted else None
        return found


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
    """Of these whole numbers, in `origin.declarations.rules.exact`'s units."""
    with_gaps: list[float | None] | None = None
    """The column with None where it has nothing, if it lacks any; `all` has zeros there."""

    @classmethod
    def of(cls, column: list[Any], many: int) -> Self:
        """A column of numbers, and None, of which no more than so many are added up.

        :raises OverflowError: one is beyond anything that can be meant.
        """
        try:
            return cls._of_numbers(column, many)
        except TypeError:
            # None isn't compared with anything.
            zeros = cls._of_numbers([number or 0 for number in column], many)
            return zeros._replace(with_gaps=column)

    @classmethod
    def _of_numbers(cls, column: list[float], many: int) -> Self:
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

    def there(self, parts: Iterable[tuple[int, int]]) -> Iterable[bool]:
        """Which of these parts have any number."""
        column = self.with_gaps
        if column is None:
            return repeat(object=True)
        return [any(number is not None for number in column[begin:end]) for begin, end in parts]

    def sums(self, parts: Iterable[tuple[int, int]]) -> Iterator[int]:
        """The exact sums of these parts."""
        column = self.all
        return self.exactly([sum(column[begin:end]) for begin, end in parts])

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


def _first_rows(raw: bytes) -> list[Mapping[str, Any]]:
    rows = _raw_answer.decode(raw).mix_emissions
    return [msgspec.json.decode(row) for row in rows[:_FIRST_ROWS]]


def _alike(raw: bytes, names: tuple[str, ...]) -> list[Any] | None:
    """The rows of an answer if all have these columns, but emissions that are missing or null: None.

    None of them where any has another column, or isn't as documented.
    """
    if not {*names} >= _KNOWN or len(names) > _MAX_COLUMNS:
        return None
    try:
        answer = _decoder(names).decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return answer.mix_emissions if answer.success is True else None


def _columns(rows: list[Any], names: tuple[str, ...]) -> Mapping[str, list[Any]]:
    return {name: list(map(attrgetter(attribute), rows)) for name, attribute in _attributes(names)}


@lru_cache(maxsize=16)
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """What reads an answer whose rows have these columns, and no others.

    :raises ValueError: they are named by what the library can't look for.
    """
    row = msgspec.defstruct(
        "Row",
        [(attribute, *_kind(name)) for name, attribute in _attributes(names)],
        rename={attribute: name for name, attribute in _attributes(names)},
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    answer = msgspec.defstruct("Answer", [("mix_emissions", list[row]), ("success", Any)])  # type: ignore[valid-type] # made above
    return msgspec.json.Decoder(answer)


def _kind(column: str) -> tuple[Any, ...]:
    """Its type, and what stands for it where it may be missing."""
    if column in _TEXTS:
        return (str,)
    if column == _AMOUNT:
        return (int | float,)
    return (Any if column in _NO_EMISSIONS else int | float | None, None)


def _attributes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Attributes for columns that may have any name."""
    return [(name, f"column_{place}") for place, name in enumerate(names)]
