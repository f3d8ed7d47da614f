"""Reads what metering points consumed from DataHub (contract: peers.md, DataHubService).

A year of fifty points is half a million measurements.
"""

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
    MeasurementRowWithEnd,
    MeasurementSummary,
    MeteringPointType,
)
from origin.shared.json_codec import MAX_EXACT_FLOAT
from origin.shared.limits import MAX_WH

_KIND: MeteringPointType = "consumption"
_KINDS = get_args(MeteringPointType)

_FEW = 100
"""Up to this many measurements are read at once: asking first whether they are hourly costs as much."""
SUMMED_AT_ONCE = 35_040
"""Hours (times points) in one summary, for which DataHub needs a second."""

_ADDED_WITHOUT_A_PAUSE = 2000
"""How many measurements are added before other greenlets may run."""

_ByPointAndSector = dict[str, dict[str, Measurements]]
"""Measurements by GSRN, then by sector."""


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
    """Return what these points consumed in the periods that begin in the range, both ends included.

    Sums by hour cost DataHub little, single measurements cost it much. Sums are read for a point that
    is measured hourly, and for one with shorter periods that is not in `exact`: there each hour counts
    as one period. For all other points the measurements are read page by page.

    :param exact: The points of which every single period is needed; None: all points.
    :param go_on: Called between calls. If it returns False, the result so far is returned.
    :raises PeerError: as DataHubClient.
    """
    reader = ConsumptionReader(datahub, token, begin, end, go_on, exact)
    points = sorted(set(gsrns))
    if reader.are_few(points):
        return reader.paged(points)
    found, others = reader.hourly(points)
    if others and go_on():
        found |= reader.paged(list(others))
    return found


class ConsumptionReader:
    """Reads measurements from DataHub, as sums by hour or page by page.

    :ivar samples: A measurement of each point whose sums by hour were read.
    """

    def __init__(
        self,
        datahub: DataHubClient,
        token: str,
        begin: datetime,
        end: datetime,
        go_on: Callable[[], bool] = lambda: True,
        exact: Collection[str] | None = None,
    ) -> None:
        self._datahub = datahub
        self._token = token
        self._begin, self._end = begin, end
        self._go_on = go_on
        self._exact = exact
        self._times = _Times()
        self.first, self.last = unix_s(begin), unix_s(end)
        self.samples: dict[str, MeasurementRowWithEnd] = {}

    @property
    def _hours(self) -> int:
        return (self.last - self.first) // HOUR_S + 1

    def are_few(self, gsrns: Sequence[str]) -> bool:
        """Return whether to read the measurements of these points at once, page by page."""
        return len(gsrns) * self._hours <= _FEW

    def hourly(self, gsrns: Sequence[str]) -> tuple[Consumption, dict[str, int]]:
        """Return what the sums by hour give.

        :returns: The sums; and of the points for which they don't suffice, how many measurements each
            has, to be read page by page.
        """
        found: Consumption = {}
        others: dict[str, int] = {}
        at_once = max(1, SUMMED_AT_ONCE // self._hours)
        for start in range(0, len(gsrns), at_once):
            hourly, rest = self._summed(gsrns[start : start + at_once])
            found |= hourly
            others |= rest
        return found, others

    def _summed(self, gsrns: Sequence[str]) -> tuple[Consumption, dict[str, int]]:
        if not self._go_on():
            return {}, {}
        range_ = {"begin": self._begin, "end": self._end}
        summary = self._datahub.summary(self._token, "hour", gsrn=gsrns, kind=_KIND, **range_)
        with raising_peer_misbehaved("/measurements/summary"):
            sums = _sums(summary, self._times)
        found: Consumption = {}
        others: dict[str, int] = {}
        for gsrn in gsrns:
            if not self._go_on():
                break
            # Counted after the sums: a measurement that arrives in between makes the counts differ.
            counted = self._datahub.count_measurements(self._token, gsrn=gsrn, kind=_KIND, **range_)
            hours = sums.get(gsrn, Measurements([], []))
            with raising_peer_misbehaved("/measurements"):
                suffice = self._hours_suffice(gsrn, counted, hours)
            if not suffice:
                others[gsrn] = int(counted.total)
            elif hours.begins:
                self.samples[gsrn] = counted.measurements[0]
                found[gsrn, counted.measurements[0].sector] = hours
        return found, others

    def _hours_suffice(self, gsrn: str, counted: MeasurementCount, hours: Measurements) -> bool:
        """Return whether these sums are all that is needed of the point."""
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
        """Return the measurements, page by page. One that moved to a later page comes twice and counts once."""
        found: _ByPointAndSector = {gsrn: {} for gsrn in gsrns}
        for page in self._datahub.measurement_pages(
            self._token, gsrn=gsrns, begin=self._begin, end=self._end, kind=_KIND
        ):
            with raising_peer_misbehaved("/measurements"):
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
def raising_peer_misbehaved(path: str) -> Iterator[None]:
    """Turn what can't be read into DataHub's error.

    :raises PeerMisbehaved: the measurements of `path` aren't as documented.
    """
    try:
        yield
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        # Not chained: the cause quotes the answer.
        reason = f"{path}: unexpected measurement ({type(error).__name__})"
        raise PeerMisbehaved("DataHubService", reason) from None


def _sums(summary: MeasurementSummary, times: "_Times") -> dict[str, Measurements]:
    """Return each point's hours that have an amount.

    :raises ValueError: labels or groups aren't as documented.
    """
    begins = [times[label] for label in summary.labels]
    if any(begin % HOUR_S for begin in begins) or len(set(begins)) < len(begins):
        raise ValueError("labels")
    found: dict[str, Measurements] = {}
    for group in summary.groups:
        # Lets other greenlets run.
        time.sleep(0)
        (gsrn,) = group.group
        if gsrn in found:
            raise ValueError("group")
        known = [
            (begin, amount_of(value))
            for begin, value in zip(begins, group.values, strict=True)
            if value is not None
        ]
        found[gsrn] = Measurements([begin for begin, _ in known], [amount for _, amount in known])
    return found


def _once(measurements: Measurements, first: int, last: int) -> Measurements:
    """Return those that begin in the range; of several with the same begin the last one."""
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
    """Unix times by their text, so that each text is parsed once."""

    def __missing__(self, text: str) -> int:
        time = self[text] = unix_s(datetime.fromisoformat(text))
        return time


def amount_of(amount: float) -> int:
    """Return the amount as an `int`: 1000.0 is one, too.

    :raises ValueError: it is negative, not whole or too large. Above `MAX_EXACT_FLOAT` a float may
        differ from the number that was written.
    """
    most = MAX_WH if type(amount) is int else MAX_EXACT_FLOAT
    if not 0 <= amount <= most or not float(amount).is_integer():
        raise ValueError("amount")
    return int(amount)


def _add_page(found: _ByPointAndSector, page: list[MeasurementRow], times: "_Times") -> None:
    """Add a page's measurements; those of points that weren't asked for are skipped."""
    for start in range(0, len(page), _ADDED_WITHOUT_A_PAUSE):
        # Lets other greenlets run, for example the one that fetches the next page.
        time.sleep(0)
        _add(found, page[start : start + _ADDED_WITHOUT_A_PAUSE], times)


def _add(found: _ByPointAndSector, page: list[MeasurementRow], times: "_Times") -> None:
    last: str | None = None
    begun = 0
    for each in page:
        amount = each.amount
        if type(amount) is not int or not 0 <= amount <= MAX_WH:
            amount = amount_of(amount)
        sectors = found.get(each.gsrn)
        if sectors is None or each.type != _KIND:
            if each.type not in _KINDS:
                raise ValueError("type")
            continue
        begin = each.begin
        if begin != last:
            # Pages are mostly sorted by begin, and have each begin many times.
            last, begun = begin, times[begin]
        measurements = sectors.get(each.sector)
        if measurements is None:
            measurements = sectors[each.sector] = Measurements([], [])
        begins, amounts = measurements
        begins.append(begun)
        amounts.append(amount)
