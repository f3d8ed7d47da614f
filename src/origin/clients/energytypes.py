"""EnergyTypeService: the residual mix (contract: peers, EnergyTypeService)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from operator import itemgetter
from typing import Any

import msgspec
import requests

from origin.clients.http import PeerClient
from origin.domain.declarations import HOUR_S, Mix, ResidualMix, hour_of, unix_s
from origin.domain.exact import exact_sum
from origin.errors import PeerMisbehaved, PeerUnavailable

HOURS_PER_CALL = 31 * 24
"""A year at once could be a hundred megabytes."""

_PEER = "EnergyTypeService"
_PATH = "/residual-mix"
_NO_EMISSIONS = frozenset({"timestamp_utc", "sector", "technology", "amount", "share"})
_COLUMNS = itemgetter("timestamp_utc", "sector", "technology", "amount")
_NUMBERS = frozenset({int, Decimal})
_EXACT_JSON = msgspec.json.Decoder(float_hook=Decimal)
"""Reads 0.1 as a tenth."""
_DIGITS = 100
"""Of a sum: more than any that is real."""


class EnergyTypeClient:
    """Calls to EnergyTypeService.

    :param base_url: Without a trailing slash.
    """

    def __init__(self, base_url: str, *, tls_verify: bool) -> None:
        self._http = PeerClient(_PEER, tls_verify=tls_verify)
        self._url = base_url + _PATH

    def residual_mix(
        self,
        sectors: Iterable[str],
        begin: datetime,
        end: datetime,
        go_on: Callable[[], bool] = lambda: True,
    ) -> ResidualMix:
        """The mix of these sectors in every hour of the range, both ends included.

        Hours and sectors that have none are not in it. Fetched in parts.

        :param go_on: Asked before each part; False: what is there is returned.
        :raises PeerUnavailable: no answer, or a 5xx.
        :raises PeerMisbehaved: anything that isn't documented.
        """
        mix: ResidualMix = {}
        wanted = sorted(set(sectors))
        # There `begin_to` is exclusive.
        past_end = hour_of(unix_s(end)) + HOUR_S
        for start in range(hour_of(unix_s(begin)), past_end, HOURS_PER_CALL * HOUR_S):
            if not wanted or not go_on():
                break
            stop = min(start + HOURS_PER_CALL * HOUR_S, past_end)
            rows = self._rows(wanted, start, stop)
            try:
                with localcontext(prec=_DIGITS):
                    _add_rows(mix, rows, frozenset(wanted), start, stop)
            except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                # Not chained: the cause quotes the answer.
                reason = f"{_PATH}: unexpected row ({type(error).__name__})"
                raise PeerMisbehaved(_PEER, reason) from None
        return mix

    def _rows(self, sectors: list[str], start: int, stop: int) -> list[dict[str, Any]]:
        query = [("sector", sector) for sector in sectors]
        query += [("begin_from", _iso(start)), ("begin_to", _iso(stop))]
        try:
            answer = _EXACT_JSON.decode(self._ask(query))
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
            # The latter of texts that aren't UTF-8, of endless numbers, of endless nesting.
            raise PeerMisbehaved(_PEER, f"{_PATH}: no JSON") from None
        rows = answer.get("mix_emissions") if isinstance(answer, dict) else None
        if rows is None or answer.get("success") is not True or not isinstance(rows, list):
            raise PeerMisbehaved(_PEER, f"{_PATH} answered without success or rows")
        return rows

    def _ask(self, query: list[tuple[str, str]]) -> bytes:
        response = self._http.request(
            "GET", self._url, params=query, headers={"Accept": "application/json"}
        )
        status = response.status_code
        if status >= 500 or status == requests.codes.too_many_requests:
            raise PeerUnavailable(_PEER, f"{_PATH} answered {status}")
        if status != requests.codes.ok:
            raise PeerMisbehaved(_PEER, f"{_PATH} answered {status}")
        return response.content


def _iso(unix_time: int) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat()


@dataclass(slots=True)
class _Tally:
    """The sums of a sector's hour: Wh by technology, grams by emission."""

    technologies: dict[str, int | Decimal] = field(default_factory=dict)
    emissions: dict[str, int | Decimal] = field(default_factory=dict)


def _add_rows(
    mix: ResidualMix,
    rows: Iterable[Mapping[str, Any]],
    sectors: frozenset[str],
    start: int,
    stop: int,
) -> None:
    """Add up the rows of these sectors and times; a year has a hundred thousand of them.

    Decimals are added as such, and made whole numbers of once for each sum.
    """
    hours: dict[str, int] = {}
    tallies: dict[tuple[int, str], _Tally] = {}
    emissions_of = _Emissions()
    for row in rows:
        time, sector, technology, amount = _COLUMNS(row)
        hour = hours.get(time)
        if hour is None:
            hour = hours[time] = hour_of(unix_s(datetime.fromisoformat(time)))
        if sector not in sectors or not start <= hour < stop:
            continue
        if type(technology) is not str or type(amount) not in _NUMBERS or amount < 0:
            raise TypeError("technology or amount")
        there = tallies.get((hour, sector))
        if there is None:
            there = tallies[hour, sector] = _Tally()
        there.technologies[technology] = there.technologies.get(technology, 0) + amount
        sums = there.emissions
        for name in emissions_of[tuple(row)]:
            grams = row[name]
            if type(grams) in _NUMBERS:
                sums[name] = sums.get(name, 0) + grams
    for (hour, sector), tally in tallies.items():
        found = mix.setdefault((hour, sector), Mix())
        for technology, sum_ in tally.technologies.items():
            found.add(technology, exact_sum(sum_), {})
        found.add_emissions({name: exact_sum(sum_) for name, sum_ in tally.emissions.items()})


class _Emissions(dict[tuple[str, ...], list[str]]):
    """The columns that may be emissions, by all columns of a row: most rows have the same."""

    def __missing__(self, columns: tuple[str, ...]) -> list[str]:
        names = self[columns] = [name for name in columns if name not in _NO_EMISSIONS]
        return names
