"""Periods of local time, by which summaries and declarations group their sums."""

from datetime import datetime
from enum import Enum


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
