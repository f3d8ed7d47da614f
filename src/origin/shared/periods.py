"""Periods of local time: those of requests, and those by which sums are grouped."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import Enum
from zoneinfo import ZoneInfo

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""The begin of a period that has none."""
LATEST = datetime.max.replace(tzinfo=UTC)
"""The end of a period that has none."""


@dataclass(frozen=True)
class Period:
    """A period of a request, half-open: `begin` belongs to it, `end` does not.

    :ivar begin: In UTC; `EARLIEST` if the request names none.
    :ivar end: In UTC; `LATEST` if the request names none.
    :ivar zone: The time zone of the request, by which local times are shown and grouped.
    """

    begin: datetime
    end: datetime
    zone: ZoneInfo


def local_time(at: datetime, zone: tzinfo) -> datetime | None:
    """Return the local time of a moment; None: it is outside of the years 1 to 9999."""
    try:
        return at.astimezone(zone)
    except OverflowError:
        return None


def day_begin(day: date, zone: tzinfo) -> datetime:
    """Return the first moment of this local day, in UTC.

    Where the clocks jump over midnight the day begins after the jump. Of a doubled midnight the first
    counts.

    :raises OverflowError: The moment is before year 1 in UTC.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


class Resolution(Enum):
    """The length of a period in local time."""

    ALL = "all"
    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"


def period_begin(local: datetime, resolution: Resolution) -> datetime:
    """Return the begin of the period that holds this local time.

    :param resolution: All but `ALL`, whose period has no begin of its own.
    """
    hour = local.replace(minute=0, second=0, microsecond=0)
    match resolution:
        case Resolution.ALL:
            raise ValueError(resolution)
        case Resolution.YEAR:
            return hour.replace(month=1, day=1, hour=0)
        case Resolution.MONTH:
            return hour.replace(day=1, hour=0)
        case Resolution.DAY:
            return hour.replace(hour=0)
        case Resolution.HOUR:
            return hour


def period_number(local: datetime, resolution: Resolution) -> int:
    """Return the number of the period that holds this local time. Successive periods count up by one.

    :param resolution: All but `ALL`.
    """
    match resolution:
        case Resolution.ALL:
            raise ValueError(resolution)
        case Resolution.YEAR:
            return local.year
        case Resolution.MONTH:
            return 12 * local.year + local.month - 1
        case Resolution.DAY:
            return local.toordinal()
        case Resolution.HOUR:
            return 24 * local.toordinal() + local.hour


def numbered_period(number: int, resolution: Resolution, zone: tzinfo) -> datetime:
    """Return the begin, in this zone, of the period that `period_number` gives this number."""
    match resolution:
        case Resolution.ALL:
            raise ValueError(resolution)
        case Resolution.YEAR:
            return datetime(number, 1, 1, tzinfo=zone)
        case Resolution.MONTH:
            return datetime(number // 12, number % 12 + 1, 1, tzinfo=zone)
        case Resolution.DAY:
            return datetime.fromordinal(number).replace(tzinfo=zone)
        case Resolution.HOUR:
            day = datetime.fromordinal(number // 24)
            return day.replace(hour=number % 24, tzinfo=zone)
