"""Sums over time: their labels and groups (contract: http-api.md, `/ggo/summary`).

Local time has a fixed offset, or is that of an IANA zone with its daylight saving: the hour that clocks
show twice in autumn is one label, and the hour that they skip in spring has none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum

from origin.errors import Rejected
from origin.shared.periods import Resolution, period_begin

MAX_LABELS = 100_000
MAX_VALUES = 5_000_000
"""Labels times groups: some 25 MB of JSON."""
ALL_TIME = "All-time"
UNKNOWN = "Unknown"
"""The label of a GGO's technology if its pair of codes has none."""

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class RangeOutOfBounds(Rejected):
    """In local time, the range of begins is not within the years 1 to 9999."""

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


class Grouping(Enum):
    """What sums can be grouped by, by the wire's names."""

    BEGIN = "begin"
    SECTOR = "sector"
    TECHNOLOGY = "technology"
    TECHNOLOGY_CODE = "technologyCode"
    FUEL_CODE = "fuelCode"


@dataclass(frozen=True)
class GroupSums:
    """The sums of one group: Wh by label."""

    group: tuple[str, ...]
    amounts: dict[str, int]


@dataclass(frozen=True)
class Group:
    """The values of one group: Wh for each label, None where it has no GGO."""

    group: Sequence[str]
    values: Sequence[int | None]


@dataclass(frozen=True)
class Summary:
    """Labels, and groups with a value for each label."""

    labels: Sequence[str]
    groups: Sequence[Group]


def label_of(local: datetime, resolution: Resolution) -> str:
    """Return the label of the period that holds this local time."""
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
    """Return all labels from that of `begin` to that of `end`, in local time.

    :raises TooManyLabels: There are more than `MAX_LABELS`.
    :raises RangeOutOfBounds: In local time, the range is not within the years 1 to 9999.
    """
    if resolution is Resolution.ALL:
        return [ALL_TIME]
    try:
        return _labels(begin, end, resolution, zone)
    except OverflowError:
        # Local time, or the end of its last day, is before year 1 or after year 9999.
        raise RangeOutOfBounds from None


def _labels(begin: datetime, end: datetime, resolution: Resolution, zone: tzinfo) -> list[str]:
    first, last = sorted(period_begin(_local(time, zone), resolution) for time in (begin, end))
    if _count_steps(first, last, resolution) >= MAX_LABELS:
        raise TooManyLabels(MAX_LABELS)
    steps = _steps(first, last, resolution)
    if resolution is Resolution.HOUR:
        steps = _existing_hours(steps, zone)
    return [label_of(step, resolution) for step in steps]


def summarise(
    sums: Iterable[GroupSums], resolution: Resolution, filled: Iterable[str] = (), *, grouped: bool
) -> Summary:
    """Arrange sums into groups of values. Labels and groups are sorted.

    :param filled: Labels to show even if no GGO has them.
    :param grouped: Whether sums are grouped. If not, a sum over all time is shown even without GGOs.
    :raises TooManyValues: It would have more than `MAX_VALUES`.
    """
    by_group = {each.group: each.amounts for each in sums}
    if resolution is Resolution.ALL and not grouped:
        by_group.setdefault((), {})
    labels = set(filled).union([ALL_TIME] if resolution is Resolution.ALL else [])
    labels.update(*by_group.values())
    if len(labels) * len(by_group) > MAX_VALUES:
        raise TooManyValues(MAX_VALUES, labels=len(labels), groups=len(by_group))
    ordered = sorted(labels)
    return Summary(
        labels=ordered,
        groups=[
            Group(group, [amounts.get(label) for label in ordered])
            for group, amounts in sorted(by_group.items())
        ],
    )


def _local(time: datetime, zone: tzinfo) -> datetime:
    return time.astimezone(zone).replace(tzinfo=None)


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
    """Yield the hours that clocks show. Single hours are checked only on days whose offset changes."""
    day, is_even = None, False
    for hour in hours:
        if hour.date() != day:
            day = hour.date()
            is_even = _has_one_offset(hour.replace(hour=0), zone)
        if is_even or _exists(hour, zone):
            yield hour


def _has_one_offset(midnight: datetime, zone: tzinfo) -> bool:
    """Return whether this day has the same offset at its begin, noon and end."""
    offsets = {
        zone.utcoffset((midnight + hours * _HOUR).replace(tzinfo=zone)) for hours in (0, 12, 24)
    }
    return len(offsets) == 1


def _exists(local: datetime, zone: tzinfo) -> bool:
    """Return whether clocks show this hour or a part of it: they skip one in spring."""
    for minutes in (0, 30):
        shown = local + timedelta(minutes=minutes)
        if _local(shown.replace(tzinfo=zone).astimezone(UTC), zone) == shown:
            return True
    return False
