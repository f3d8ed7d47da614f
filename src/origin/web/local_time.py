"""Local time in requests: zones, offsets and ranges (contract: http-api.md, Conventions)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from marshmallow import ValidationError, fields

from origin.web.described import BEGIN, END
from origin.web.fields import Time, WholeNumber, in_utc
from origin.web.schema import Schema

MAX_OFFSET_HOURS = 23


class Zone(fields.String):
    """The IANA name of a time zone, such as `Europe/Copenhagen`; loads as a `ZoneInfo`."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        if name not in _zone_names():
            raise ValidationError("Not a known time zone.")
        return ZoneInfo(name)


@cache
def _zone_names() -> set[str]:
    return available_timezones()


class UtcOffset(WholeNumber):
    """Whole hours ahead of UTC; loads as a `timezone`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(least=-MAX_OFFSET_HOURS, most=MAX_OFFSET_HOURS, **arguments)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any
    ) -> Any:
        """Return the hours as a `timezone`."""
        hours = super().deserialize(value, attr, data, **kwargs)
        return timezone(timedelta(hours=hours)) if isinstance(hours, int) else hours


class TimeRange(Schema):
    """A range of times, both ends included."""

    begin = Time(required=True, metadata=BEGIN)
    end = Time(required=True, metadata=END)


def range_in_utc(begin: datetime, end: datetime, zone: tzinfo = UTC) -> tuple[datetime, datetime]:
    """Return both ends in UTC. Naive ends are in `zone`, whose offset may change between them.

    :raises ValidationError: The ends have different offsets, or the end is before the begin.
    :raises OverflowError: An end is before year 1 or after year 9999 in UTC.
    """
    naive = begin.tzinfo is None and end.tzinfo is None
    begin, end = (time if time.tzinfo else time.replace(tzinfo=zone) for time in (begin, end))
    if not naive and begin.utcoffset() != end.utcoffset():
        raise ValidationError({"end": ["begin and end must have the same offset."]})
    if in_utc(begin) > in_utc(end):
        raise ValidationError({"end": ["end must not be before begin."]})
    return in_utc(begin), in_utc(end)
