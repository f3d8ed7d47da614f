"""Reads residual mixes and sums their rows (contract: peers.md, EnergyTypeService).

Numbers are read as `Decimal`, so a sum has exactly the decimals that the peer wrote. A year of two
sectors has 160,000 rows of five emissions: reading and summing it takes 0.75 s of CPU, of the 2.5 s
that such a declaration may take in all (`bench/declarations.py`).
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation, Overflow, localcontext
from typing import Any

import msgspec

from origin.declarations.rules.consumption import Series, hour_of, unix_s
from origin.declarations.rules.declarations import Mix, ResidualMix
from origin.declarations.rules.exact import exact

MAX_NAMES = 300
"""The most technologies, and the most emissions, of a sector; the contract knows a dozen of each."""

_NUMBERS = frozenset({int, Decimal})
_ROWS_WITHOUT_A_PAUSE = 4_000

_ZERO = Decimal(0)
_ARITHMETIC = Context(prec=100, Emax=39, traps=[InvalidOperation, Overflow])
"""Enough digits for exact sums. A number of 10⁴⁰ or more is a mistake and raises `Overflow`."""

_Sums = defaultdict[str, dict[int, Decimal]]
"""By name, then by the begin of the hour (Unix time)."""


class _ResidualMixAnswer(msgspec.Struct):
    success: bool
    mix_emissions: list[dict[str, Any]]


_decoder = msgspec.json.Decoder(_ResidualMixAnswer, float_hook=Decimal)


class UnreadableMix(ValueError):
    """The answer isn't as documented. The message quotes nothing of it."""


class ResidualMixReader:
    """Sums the rows of several answers.

    :param sectors: The wanted ones. Rows of other sectors are skipped.
    """

    def __init__(self, sectors: Iterable[str]) -> None:
        self._sums = {sector: _SectorSums() for sector in sectors}

    @property
    def mix(self) -> ResidualMix:
        """The mix of all answers so far; a sector without rows is not in it."""
        return {sector: sums.mix() for sector, sums in self._sums.items() if sums.amounts}

    def add(self, raw: bytes, start: int, stop: int) -> None:
        """Add an answer's rows of the hours that begin at `start` or later and before `stop`.

        :param start: Unix time, as `stop`.
        :raises UnreadableMix: the reader must not be used any more.
        """
        try:
            with localcontext(_ARITHMETIC):
                self._add(_decoder.decode(raw), _Hours(range(start, stop)))
        except (
            msgspec.MsgspecError,
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            RecursionError,
        ) as error:
            # Not chained: the cause quotes the answer.
            raise UnreadableMix(type(error).__name__) from None

    def _add(self, answer: _ResidualMixAnswer, hours: "_Hours") -> None:
        if not answer.success:
            raise ValueError("success")
        for number, row in enumerate(answer.mix_emissions):
            if number % _ROWS_WITHOUT_A_PAUSE == 0:
                # Lets other greenlets run, for example the one that fetches the next answer.
                time.sleep(0)
            hour, sector = hours[row.pop("timestamp_utc")], row.pop("sector")
            if type(sector) is not str:
                raise TypeError("sector")
            if hour is not None and sector in self._sums:
                self._sums[sector].add(hour, row)
        if any(sums.has_too_many_names for sums in self._sums.values()):
            raise ValueError("names")


class _SectorSums:
    """The sums of one sector's rows: Wh, and g of emissions."""

    def __init__(self) -> None:
        self.amounts: dict[int, Decimal] = {}
        self._technologies: _Sums = defaultdict(dict)
        self._emissions: _Sums = defaultdict(dict)

    @property
    def has_too_many_names(self) -> bool:
        """Whether there are more names than any mix has."""
        return max(len(self._technologies), len(self._emissions)) > MAX_NAMES

    def add(self, hour: int, row: dict[str, Any]) -> None:
        """Add a row without its time and sector. Every column left that holds a number is an emission."""
        technology, amount = row.pop("technology"), row.pop("amount")
        if type(technology) is not str or type(amount) not in _NUMBERS or amount < 0:
            raise TypeError("technology or amount")
        self.amounts[hour] = self.amounts.get(hour, _ZERO) + amount
        by_hour = self._technologies[technology]
        by_hour[hour] = by_hour.get(hour, _ZERO) + amount
        row.pop("share", None)
        for name, grams in row.items():
            if type(grams) in _NUMBERS:
                by_hour = self._emissions[name]
                by_hour[hour] = by_hour.get(hour, _ZERO) + grams

    def mix(self) -> Mix:
        """The sums in exact units (`origin.declarations.rules.exact`)."""
        return Mix(
            _exact(self.amounts), _all_exact(self._technologies), _all_exact(self._emissions)
        )


def _all_exact(sums: Mapping[str, dict[int, Decimal]]) -> dict[str, Series]:
    return {name: _exact(by_hour) for name, by_hour in sums.items()}


def _exact(by_hour: dict[int, Decimal]) -> Series:
    return {hour: exact(value) for hour, value in by_hour.items()}


class _Hours(dict[str, int | None]):
    """The begin of the hour of a time as it is written; None if it isn't wanted."""

    def __init__(self, wanted: range) -> None:
        super().__init__()
        self._wanted = wanted

    def __missing__(self, text: str) -> int | None:
        hour = hour_of(unix_s(datetime.fromisoformat(text)))
        self[text] = found = hour if hour in self._wanted else None
        return found
