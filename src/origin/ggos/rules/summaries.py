"""Sums over time (contract: http-api, /ggo/summary): labels, groups, and the gaps between them.

A period's local time is that of a fixed offset or of an IANA zone, right across daylight saving:
the doubled hour of autumn is one label, the missing one of spring is none.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from functools import lru_cache
from itertools import pairwise

from origin.errors import Rejected

MAX_LABELS = 100_000
MAX_VALUES = 5_000_000
"""Labels times groups: some 25 MB of JSON."""
ALL_TIME = "All-time"
UNKNOWN = "Unknown"
"""What a technology without a label is called."""

MAX_PERIODS = 5_000
"""Beyond that, finding the period of a time takes longer than reckoning with its zone."""
_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class RangeOutOfBounds(Rejected):
    """The range of begins has no place in local time: it ends before year 1 or after year 9999."""

    code = "range_out_of_bounds"


@dataclass(eq=False)
class TooManyLabels(Rejected):
    """A filled summary would have more than `most` labels."""

    code = "too_many_labels"
    most: int


@dataclass(eq=False)
class TooManyValues(Rejected):
    """A summary would have more than `most` values: labels times groups."""

    code = "too_many_values"
    most: int
    labels: int
    groups: int


class TimeZoneUnknown(Rejected):
    """The database does not know the time zone."""

    code = "time_zone_unknown"


class Resolution(Enum):
    """The length of a label's period."""

    ALL = "all"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"


_IN_A_YEAR = {Resolution.YEAR: 1, Resolution.MONTH: 12, Resolution.DAY: 366}


class Grouping(Enum):
    """What sums can be told apart by."""

    BEGIN = "begin"
    SECTOR = "sector"
    TECHNOLOGY = "technology"
    TECHNOLOGY_CODE = "technologyCode"
    FUEL_CODE = "fuelCode"


@dataclass(frozen=True)
class GroupSums:
    """What was found of one group: Wh by label."""

    group: tuple[str, ...]
    amounts: dict[str, int]


@dataclass(frozen=True)
class Group:
    """The values of one group, Wh for each label, None where it has nothing."""

    group: Sequence[str]
    values: Sequence[int | None]


@dataclass(frozen=True)
class Summary:
    """Labels, and a value for each of them in each group."""

    labels: Sequence[str]
    groups: Sequence[Group]


def label_of(local: datetime, resolution: Resolution) -> str:
    """The label of the period that holds this local time."""
    match resolution:
        case Resolution.ALL:
            return ALL_TIME
        case Resolution.YEAR:
            return f"{local.year:04d}"
        case Resolution.MONTH:
            return f"{local.year:04d}-{local.month:02d}"
        case Resolution.DAY:
            return f"{local.year:04d}-{local.month:02d}-{local.day:02d}"
        case Resolution.HOUR:
            return f"{local.year:04d}-{local.month:02d}-{local.day:02d} {local.hour:02d}:00"


def filled_labels(
    begin: datetime, end: datetime, resolution: Resolution, zone: tzinfo
) -> list[str]:
    """Every label from the one that holds `begin` to the one that holds `end`, in local time.

    :raises TooManyLabels: There are more than `MAX_LABELS`.
    :raises RangeOutOfBounds: Local time ends before the range does.
    """
    if resolution is Resolution.ALL:
        return [ALL_TIME]
    try:
        return _labels(begin, end, resolution, zone)
    except OverflowError:
        # Local time, or the end of its last day, is beyond what a calendar here can say.
        raise RangeOutOfBounds from None


def _labels(begin: datetime, end: datetime, resolution: Resolution, zone: tzinfo) -> list[str]:
    first, last = sorted(_floor(_local(time, zone), resolution) for time in (begin, end))
    if _count_steps(first, last, resolution) >= MAX_LABELS:
        raise TooManyLabels(MAX_LABELS)
    steps = _steps(first, last, resolution)
    if resolution is Resolution.HOUR:
        steps = _existing_hours(steps, zone)
    return [label_of(step, resolution) for step in steps]


@dataclass(frozen=True)
class Periods:
    """Successive periods of local time: labels, and the moments at which each begins (ISO 8601)."""

    labels: Sequence[str]
    begins: Sequence[str]
    past: str
    """The first moment after the last of them."""


@dataclass(frozen=True)
class _Year:
    """The periods of a local year, with the moments also as such, in UTC."""

    labels: Sequence[str]
    begins: Sequence[str]
    moments: Sequence[datetime]
    past: str
    """When the next year begins."""


def periods(begin: datetime, end: datetime, resolution: Resolution, zone: tzinfo) -> Periods | None:
    """The periods from the one that holds `begin` to the one that holds `end`, one after the other.

    :param resolution: Years, months or days.
    :returns: None where there are more than `MAX_PERIODS`, or where they aren't one after the other:
        clocks that are set back across midnight show an end of the old day after the new one began.
    """
    labels: list[str] = []
    begins: list[str] = []
    moments: list[datetime] = []
    following = ""
    try:
        years = range(_local(begin, zone).year, _local(end, zone).year + 1)
        if len(years) * _IN_A_YEAR[resolution] > MAX_PERIODS + 2 * _IN_A_YEAR[resolution]:
            return None
        for year in years:
            found = _year(year, resolution, zone)
            if found is None:
                return None
            labels += found.labels
            begins += found.begins
            moments += found.moments
            following = found.past
    except (OverflowError, ValueError):
        # The last year, or the first, has no other beside it.
        return None
    first, past = bisect_right(moments, begin) - 1, bisect_right(moments, end)
    if first < 0 or past - first > MAX_PERIODS:
        return None
    ends = [*begins, following]
    return Periods(labels[first:past], begins[first:past], ends[past])


@lru_cache(maxsize=1_000)
def _year(year: int, resolution: Resolution, zone: tzinfo) -> _Year | None:
    """The periods of a local year; None where they aren't one after the other."""
    first = datetime(year, 1, 1)  # noqa: DTZ001 - local
    last = datetime(year, 12, 31, 23)  # noqa: DTZ001 - local
    steps = list(_steps(_floor(first, resolution), _floor(last, resolution), resolution))
    begins = [_first_moment(step, zone) for step in steps]
    labels = [label_of(step, resolution) for step in steps]
    past = _first_moment(first.replace(year=year + 1), zone)
    moments = [begins[0], *_changes(begins[0], past, zone)]
    # Between two changes local time just runs.
    for moment in (each for change in moments for each in (change - _MOMENT, change)):
        place = bisect_right(begins, moment) - 1
        if place >= 0 and label_of(_local(moment, zone), resolution) != labels[place]:
            return None
    shown = (label_of(_local(each, zone), resolution) for each in begins)
    if any(one >= other for one, other in pairwise(begins)) or list(shown) != labels:
        return None
    texts = [each.isoformat() for each in begins]
    return _Year(labels, texts, begins, past.isoformat())


def _first_moment(local: datetime, zone: tzinfo) -> datetime:
    """When clocks first show this time, or pass it where they skip it; in UTC."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _changes(begin: datetime, end: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The moments in this period at which the zone's offset changes: no zone has two in a day."""
    while begin < end:
        past = min(begin + _DAY, end)
        offset = past.astimezone(zone).utcoffset()
        if begin.astimezone(zone).utcoffset() != offset:
            low, high = begin, past
            while high - low > _MOMENT:
                middle = low + (high - low) / 2
                if middle.astimezone(zone).utcoffset() == offset:
                    high = middle
                else:
                    low = middle
            yield high
        begin = past


def summarise(
    sums: Iterable[GroupSums], resolution: Resolution, filled: Iterable[str] = (), *, grouped: bool
) -> Summary:
    """Arrange sums into groups of values, both labels and groups sorted.

    :param filled: Labels that shall be there, beside those that occur.
    :param grouped: Without grouping, a sum over all time is there whatever is found.
    :raises TooManyValues: It would have more than `MAX_VALUES`.
    """
    by_group = {each.group: each.amounts for each in sums}
    if resolution is Resolution.ALL and not grouped:
        by_group.setdefault((), {})
    labels = set(filled).union([ALL_TIME] if resolution is Resolution.ALL else [])
    labels.update(*by_group.values())
    if len(labels) * len(by_group) > MAX_VALUES:
        raise TooManyValues(MAX_VALUES, labels=len(labels), groups=len(by_group))
    shown = sorted(labels)
    return Summary(
        labels=shown,
        groups=[
            Group(group, [amounts.get(label) for label in shown])
            for group, amounts in sorted(by_group.items())
        ],
    )


def _local(time: datetime, zone: tzinfo) -> datetime:
    return time.astimezone(zone).replace(tzinfo=None)


def _floor(local: datetime, resolution: Resolution) -> datetime:
    local = local.replace(minute=0, second=0, microsecond=0)
    match resolution:
        case Resolution.YEAR:
            return local.replace(month=1, day=1, hour=0)
        case Resolution.MONTH:
            return local.replace(day=1, hour=0)
        case Resolution.DAY:
            return local.replace(hour=0)
        case _:
            return local


def _count_steps(first: datetime, last: datetime, resolution: Resolution) -> int:
    match resolution:
        case Resolution.YEAR:
            return last.year - first.year
        case Resolution.MONTH:
            return (last.year - first.year) * 12 + last.month - first.month
        case Resolution.DAY:
            return (last - first) // _DAY
        case _:
            return (last - first) // _HOUR


def _steps(first: datetime, last: datetime, resolution: Resolution) -> Iterator[datetime]:
    for number in range(_count_steps(first, last, resolution) + 1):
        match resolution:
            case Resolution.YEAR:
                yield first.replace(year=first.year + number)
            case Resolution.MONTH:
                months = first.month - 1 + number
                yield first.replace(year=first.year + months // 12, month=months % 12 + 1)
            case Resolution.DAY:
                yield first + number * _DAY
            case _:
                yield first + number * _HOUR


def _existing_hours(hours: Iterable[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Those that clocks show. Only on days whose offset changes, each hour is looked at."""
    looked_at, even = None, False
    for hour in hours:
        if hour.date() != looked_at:
            looked_at = hour.date()
            even = _is_even(hour.replace(hour=0), zone)
        if even or _exists(hour, zone):
            yield hour


def _is_even(midnight: datetime, zone: tzinfo) -> bool:
    """Whether the offset of this day's begin, noon and end is the same."""
    offsets = {
        zone.utcoffset((midnight + hours * _HOUR).replace(tzinfo=zone)) for hours in (0, 12, 24)
    }
    return len(offsets) == 1


def _exists(local: datetime, zone: tzinfo) -> bool:
    """Whether clocks show this hour, be it for a part: the hour that spring skips, they don't."""
    for minutes in (0, 30):
        shown = local + timedelta(minutes=minutes)
        if _local(shown.replace(tzinfo=zone).astimezone(UTC), zone) == shown:
            return True
    return False
