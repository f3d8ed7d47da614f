"""What metering points consumed, read from DataHub without an object for each measurement.

A year of fifty points is half a million of them; `DataHubClient.measurements` is for fewer.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from origin.clients.datahub import MAX_WH, DataHubClient
from origin.domain.declarations import Consumption, unix_s
from origin.errors import PeerMisbehaved


def read_consumption(
    datahub: DataHubClient,
    token: str,
    gsrns: Collection[str],
    begin: datetime,
    end: datetime,
    go_on: Callable[[], bool] = lambda: True,
) -> Consumption:
    """What these points consumed in the periods that begin in the range, both ends included.

    A measurement that comes twice, because it moved to another page meanwhile, counts once.

    :param go_on: Asked before each page; False: what is there is returned.
    :raises PeerError: as DataHubClient.
    """
    found: Consumption = {}
    times = _Times()
    first, last = unix_s(begin), unix_s(end)
    wanted = frozenset(gsrns)
    pages = datahub.measurement_pages(
        token, gsrn=sorted(wanted), begin=begin, end=end, kind="consumption"
    )
    for page in pages:
        try:
            _add_page(found, page, wanted, times, first, last)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            # Not chained: the cause quotes the answer.
            reason = f"/measurements: unexpected measurement ({type(error).__name__})"
            raise PeerMisbehaved("DataHubService", reason) from None
        if not go_on():
            break
    return found


class _Times(dict[str, int]):
    """Unix times by how they are written: each is parsed once."""

    def __missing__(self, text: str) -> int:
        time = self[text] = unix_s(datetime.fromisoformat(text))
        return time


def _add_page(
    found: Consumption,
    page: list[Mapping[str, Any]],
    wanted: frozenset[str],
    times: _Times,
    first: int,
    last: int,
) -> None:
    place, amounts = ("", ""), dict[int, int]()
    for row in page:
        gsrn, sector, amount = row["gsrn"], row["sector"], row["amount"]
        begin = times[row["begin"]]
        if type(amount) is not int or not 0 <= amount <= MAX_WH or type(sector) is not str:
            raise ValueError("amount or sector")
        if gsrn not in wanted or row["type"] != "consumption" or not first <= begin <= last:
            continue
        if place != (gsrn, sector):
            place = gsrn, sector
            amounts = found.setdefault(place, {})
        amounts[begin] = amount
