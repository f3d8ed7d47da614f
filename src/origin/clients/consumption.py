"""What metering points consumed, as DataHub tells: a year of fifty points is half a million numbers."""

import time
from collections.abc import Callable, Collection
from datetime import datetime
from itertools import islice
from operator import lt

from origin.clients.datahub import MAX_WH, DataHubClient, MeteringPointType, Reading
from origin.domain.consumption import Consumption, Measurements, unix_s
from origin.domain.json_reading import MAX_EXACT_FLOAT
from origin.errors import PeerMisbehaved

_KIND: MeteringPointType = "consumption"

_AT_ONCE = 2000
"""Measurements that are added without a pause."""

_Found = dict[str, dict[str, Measurements]]
"""By GSRN and sector."""


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

    :param go_on: Asked after each page; False: what is there is returned.
    :raises PeerError: as DataHubClient.
    """
    found: _Found = {gsrn: {} for gsrn in gsrns}
    times = _Times()
    pages = datahub.measurement_pages(token, gsrn=sorted(gsrns), begin=begin, end=end, kind=_KIND)
    for page in pages:
        try:
            _add_page(found, page, times)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            # Not chained: the cause quotes the answer.
            reason = f"/measurements: unexpected measurement ({type(error).__name__})"
            raise PeerMisbehaved("DataHubService", reason) from None
        if not go_on():
            break
    first, last = unix_s(begin), unix_s(end)
    consumption = {
        (gsrn, sector): _once(measurements, first, last)
        for gsrn, sectors in found.items()
        for sector, measurements in sectors.items()
    }
    return {place: each for place, each in consumption.items() if each.begins}


def _once(measurements: Measurements, first: int, last: int) -> Measurements:
    """Those that begin in the range, the last of those that have the same begin."""
    begins, amounts = measurements
    if first <= begins[0] and begins[-1] <= last and all(map(lt, begins, islice(begins, 1, None))):
        return measurements
    inside = {
        begin: amount
        for begin, amount in zip(begins, amounts, strict=True)
        if first <= begin <= last
    }
    return Measurements(list(inside), list(inside.values()))


class _Times(dict[str, int]):
    """Unix times by how they are written: each is parsed once."""

    def __missing__(self, text: str) -> int:
        time = self[text] = unix_s(datetime.fromisoformat(text))
        return time


def _whole(amount: float) -> int:
    """The whole number that 1000.0 is, too; of larger floats nobody knows what was written."""
    if not float(amount).is_integer() or abs(amount) > MAX_EXACT_FLOAT:
        raise ValueError("amount")
    return int(amount)


def _add_page(found: _Found, page: list[Reading], times: "_Times") -> None:
    """Note a page's measurements; those of points that nobody asked for are passed over."""
    for start in range(0, len(page), _AT_ONCE):
        # Others of this process, the next page's arrival say, go between.
        time.sleep(0)
        _add(found, page[start : start + _AT_ONCE], times)


def _add(found: _Found, page: list[Reading], times: "_Times") -> None:
    last: str | None = None
    begun = 0
    for each in page:
        amount = each.amount
        if type(amount) is not int:
            amount = _whole(amount)
        if not 0 <= amount <= MAX_WH:
            raise ValueError("amount")
        sectors = found.get(each.gsrn)
        if sectors is None or each.type != _KIND:
            continue
        begin = each.begin
        if begin != last:
            # Sorted by begin, as mostly, a page has each of them many times.
            last, begun = begin, times[begin]
        measurements = sectors.get(each.sector)
        if measurements is None:
            measurements = sectors[each.sector] = Measurements([], [])
        begins, amounts = measurements
        begins.append(begun)
        amounts.append(amount)
