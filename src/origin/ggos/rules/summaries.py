"""Sums over time (contract: http-api, /ggo/summary): labels, groups, and the gaps between them.

A period's local time is that of a fixed offset or of an IANA zone, right across daylight saving:
the doubled hour of autumn is one label, the missing one of spring is none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum

from origin.errors import Refused
from origin.shared.periods import Resolution, period_begin

MAX_LABELS = 100_000
MAX_VALUES = 5_000_000
"""Labels times groups: some 25 MB of JSON."""
ALL_TIME = "All-time"
UNKNOWN = "Unknown"
"""What a technology without a label is called."""

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


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

    :raises Refused: there are more than `MAX_LABELS`, or time ends before the range does.
    """
    if resolution is Resolution.ALL:
        return [ALL_TIME]
    try:
        return _labels(begin, end, resolution, zone)
    except OverflowError:
        # Local time, or the end of its last day, is beyond what a calendar here can say.
        raise Refused({"filters": {"beginRange": ["A time is out of bounds."]}}) from None


def _labels(begin: datetime, end: datetime, resolution: Resolution, zone: tzinfo) -> list[str]:
    first, last = sorted(period_begin(_local(time, zone), resolution) for time in (begin, end))
    if _count_steps(first, last, resolution) >= MAX_LABELS:
        raise Refused({"fill": [f"More than {MAX_LABELS} labels."]})
    steps = _steps(first, last, resolution)
    if resolution is Resolution.HOUR:
        steps = _existing_hours(steps, zone)
    return [label_of(step, resolution) for step in steps]


def summarise(
    sums: Iterable[GroupSums], resolution: Resolution, filled: Iterable[str] = (), *, grouped: bool
) -> Summary:
    """Arrange sums into groups of values, both labels and groups sorted.

    :param filled: Labels that shall be there, beside those that occur.
    :param grouped: Without grouping, a sum over all time is there whatever is found.
    :raises Refused: it would have more than `MAX_VALUES`.
    """
    by_group = {each.group: each.amounts for each in sums}
    if resolution is Resolution.ALL and not grouped:
        by_group.setdefault((), {})
    labels = set(filled).union([ALL_TIME] if resolution is Resolution.ALL else [])
    labels.update(*by_group.values())
    if len(labels) * len(by_group) > MAX_VALUES:
        message = f"More than {MAX_VALUES} values: {len(labels)} labels, {len(by_group)} groups."
        raise Refused({"grouping": [message]})
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
