"""What metering points consumed, as DataHub tells: a year of fifty points is half a million numbers."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from operator import lt
from typing import get_args

from origin.declarations.rules.consumption import HOUR_S, Consumption, Measurements, unix_s
from origin.errors import PeerMisbehaved
from origin.peers.datahub import (
    DataHubClient,
    MeasurementCount,
    MeasurementRow,
    MeasurementSummary,
    MeteringPointType,
)
from origin.shared.json_codec import MAX_EXACT_FLOAT
from origin.shared.limits import MAX_WH

_KIND: MeteringPointType = "consumption"
_KINDS = get_args(MeteringPointType)

_FEW = 100
"""Measurements that DataHub shows as quickly as it tells whether they are of whole hours."""
SUMMED_AT_ONCE = 35_040
"""Hours in one summary: DataHub needs a second for them."""

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
    *,
    exact: Collection[str] | None = None,
) -> Consumption:
    """What these points consumed in the periods that begin in the range, both ends included.

    Where hours suffice, DataHub is asked for their sums, which cost it little: for a point that is
    measured by the hour, and for one of shorter periods that is not among `exact`, of which an hour
    is told as one period. Else it is asked for the measurements themselves.

    :param exact: The points of which each period must be told; None: all.
    :param go_on: Asked between calls; False: what is there is returned.
    :raises PeerError: as DataHubClient.
    """
    reader = _Reader(datahub, token, begin, end, go_on, exact)
    points = sorted(set(gsrns))
    hours = (reader.last - reader.first) // HOUR_S + 1
    if len(points) * hours <= _FEW:
        return reader.paged(points)
    found: Consumption = {}
    others: list[str] = []
    at_once = max(1, SUMMED_AT_ONCE // hours)
    for start in range(0, len(points), at_once):
        hourly, rest = reader.hourly(points[start : start + at_once])
        found |= hourly
        others += rest
    if others and go_on():
        found |= reader.paged(others)
    return found


class _Reader:
    """Reads measurements from DataHub in one of two ways."""

    def __init__(
        self,
        datahub: DataHubClient,
        token: str,
        begin: datetime,
        end: datetime,
        go_on: Callable[[], bool],
        exact: Collection[str] | None,
    ) -> None:
        self._datahub = datahub
        self._token = token
        self._begin, self._end = begin, end
        self._go_on = go_on
        self._exact = exact
        self._times = _Times()
        self.first, self.last = unix_s(begin), unix_s(end)

    def hourly(self, gsrns: Sequence[str]) -> tuple[Consumption, list[str]]:
        """What the hours' sums tell, and the points that they don't tell enough of."""
        if not self._go_on():
            return {}, []
        range_ = {"begin": self._begin, "end": self._end}
        summary = self._datahub.summary(self._token, "hour", gsrn=gsrns, kind=_KIND, **range_)
        with _odd_are_refused("/measurements/summary"):
            sums = _sums(summary, self._times)
        found: Consumption = {}
        others: list[str] = []
        for gsrn in gsrns:
            if not self._go_on():
                break
            # MeasurementCount after they were summed: one that came in between makes the counts differ.
            counted = self._datahub.count_measurements(self._token, gsrn=gsrn, kind=_KIND, **range_)
            hours = sums.get(gsrn, Measurements([], []))
            with _odd_are_refused("/measurements"):
                do_suffice = self._do_suffice(gsrn, counted, hours)
            if not do_suffice:
                others.append(gsrn)
            elif hours.begins:
                found[gsrn, counted.measurements[0].sector] = hours
        return found, others

    def _do_suffice(self, gsrn: str, counted: MeasurementCount, hours: Measurements) -> bool:
        """Whether these sums tell of the point what has to be known."""
        if not counted.total:
            return not hours.begins
        shown = counted.measurements[0]
        begin = self._times[shown.begin]
        period = self._times[shown.end] - begin
        if (shown.gsrn, shown.type) != (gsrn, _KIND):
            return False
        if 0 < period < HOUR_S:
            return self._exact is not None and gsrn not in self._exact
        return (
            period == HOUR_S
            and begin % HOUR_S == 0
            and counted.total == len(hours.begins)
            and all(self.first <= each <= self.last for each in hours.begins)
        )

    def paged(self, gsrns: Sequence[str]) -> Consumption:
        """What the measurements tell; one that comes twice, having moved to another page, counts once."""
        found: _Found = {gsrn: {} for gsrn in gsrns}
        for page in self._datahub.measurement_pages(
            self._token, gsrn=gsrns, begin=self._begin, end=self._end, kind=_KIND
        ):
            with _odd_are_refused("/measurements"):
                _add_page(found, page, self._times)
            if not self._go_on():
                break
        consumption = {
            (gsrn, sector): _once(measurements, self.first, self.last)
            for gsrn, sectors in found.items()
            for sector, measurements in sectors.items()
        }
        return {place: each for place, each in consumption.items() if each.begins}


@contextmanager
def _odd_are_refused(path: str) -> Iterator[None]:
    """Call DataHub's what can't be read."""
    try:
        yield
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        # Not chained: the cause quotes the answer.
        reason = f"{path}: unexpected measurement ({type(error).__name__})"
        raise PeerMisbehaved("DataHubService", reason) from None


def _sums(summary: MeasurementSummary, times: "_Times") -> dict[str, Measurements]:
    """Each point's hours that have an amount."""
    begins = [times[label] for label in summary.labels]
    if any(begin % HOUR_S for begin in begins) or len(set(begins)) < len(begins):
        raise ValueError("labels")
    found: dict[str, Measurements] = {}
    for group in summary.groups:
        # Others of this process go between.
        time.sleep(0)
        (gsrn,) = group.group
        if gsrn in found:
            raise ValueError("group")
        there = [
            (begin, _amount(value))
            for begin, value in zip(begins, group.values, strict=True)
            if value is not None
        ]
        found[gsrn] = Measurements([begin for begin, _ in there], [amount for _, amount in there])
    return found


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


def _amount(amount: float) -> int:
    """The whole number that 1000.0 is, too; of larger floats nobody knows what was written."""
    most = MAX_WH if type(amount) is int else MAX_EXACT_FLOAT
    if not 0 <= amount <= most or not float(amount).is_integer():
        raise ValueError("amount")
    return int(amount)


def _add_page(found: _Found, page: list[MeasurementRow], times: "_Times") -> None:
    """Note a page's measurements; those of points that nobody asked for are passed over."""
    for start in range(0, len(page), _AT_ONCE):
        # Others of this process, the next page's arrival say, go between.
        time.sleep(0)
        _add(found, page[start : start + _AT_ONCE], times)


def _add(found: _Found, page: list[MeasurementRow], times: "_Times") -> None:
    last: str | None = None
    begun = 0
    for each in page:
        amount = each.amount
        if type(amount) is not int or not 0 <= amount <= MAX_WH:
            amount = _amount(amount)
        sectors = found.get(each.gsrn)
        if sectors is None or each.type != _KIND:
            if each.type not in _KINDS:
                raise ValueError("type")
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
