"""Filters in requests, and the local time that a request speaks in (contract: http-api, Filters)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from marshmallow import ValidationError, fields, post_load, validates_schema

from origin.ggos.rules.filters import Category, GgoFilters, TransferFilters
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    BEGIN,
    BEGIN_RANGE,
    END,
    FUEL_CODE,
    ISSUE_GSRN,
    REFERENCE,
    SECTOR,
    TECHNOLOGY_CODE,
    described,
    many,
)
from origin.web.fields import Reference, Text, Time, WholeNumber, in_utc
from origin.web.schema import Schema

MAX_FILTER_VALUES = 10_000
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
        """The hours as a `timezone`."""
        hours = super().deserialize(value, attr, data, **kwargs)
        return timezone(timedelta(hours=hours)) if isinstance(hours, int) else hours


def range_in_utc(begin: datetime, end: datetime, zone: tzinfo = UTC) -> tuple[datetime, datetime]:
    """Both ends in UTC; naive ones are of this zone, whose own offset may change between them.

    :raises ValidationError: they have different offsets, or the end is before the begin.
    """
    naive = begin.tzinfo is None and end.tzinfo is None
    begin, end = (time if time.tzinfo else time.replace(tzinfo=zone) for time in (begin, end))
    if not naive and begin.utcoffset() != end.utcoffset():
        raise ValidationError({"end": ["begin and end must have the same offset."]})
    if in_utc(begin) > in_utc(end):
        raise ValidationError({"end": ["end must not be before begin."]})
    return in_utc(begin), in_utc(end)


class TimeRange(Schema):
    """A range of times, both ends included."""

    begin = Time(required=True, metadata=BEGIN)
    end = Time(required=True, metadata=END)


class GgoFiltersSchema(Schema):
    """Filters over GGOs, combined by AND. Times stay as they came until the zone is known."""

    begin = Time(metadata=BEGIN)
    begin_range = fields.Nested(TimeRange, data_key="beginRange", metadata=BEGIN_RANGE)
    address = Items(Text(), most=MAX_FILTER_VALUES, metadata=many(ADDRESS))
    sector = Items(Text(), most=MAX_FILTER_VALUES, metadata=many(SECTOR))
    technology_code = Items(
        Text(), most=MAX_FILTER_VALUES, data_key="technologyCode", metadata=many(TECHNOLOGY_CODE)
    )
    fuel_code = Items(Text(), most=MAX_FILTER_VALUES, data_key="fuelCode", metadata=many(FUEL_CODE))
    issue_gsrn = Items(
        Text(), most=MAX_FILTER_VALUES, data_key="issueGsrn", metadata=many(ISSUE_GSRN)
    )
    retire_gsrn = Items(
        Text(),
        most=MAX_FILTER_VALUES,
        data_key="retireGsrn",
        metadata=described(
            "The consumption metering point it is retired to", ["571313180400000029"]
        ),
    )
    retire_address = Items(
        Text(),
        most=MAX_FILTER_VALUES,
        data_key="retireAddress",
        metadata=described(
            "The ledger's address of a measurement",
            ["5a9839" + "7a" * 32],
        ),
    )
    category = fields.Enum(
        Category,
        by_value=True,
        metadata=described("What became of it; expired: still held, past its expiry", "stored"),
    )

    @validates_schema
    def _check_begin(self, data: dict[str, Any], **_: Any) -> None:
        if "begin" in data and "begin_range" in data:
            message = "begin and beginRange are mutually exclusive."
            raise ValidationError({"begin": [message], "beginRange": [message]})

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> GgoFilters:
        if "begin_range" in data:
            data["begin_range"] = (data["begin_range"]["begin"], data["begin_range"]["end"])
        return self._filters(data)

    def _filters(self, data: dict[str, Any]) -> GgoFilters:
        return GgoFilters(**data)


class TransferFiltersSchema(GgoFiltersSchema):
    """Filters over transfers: those of their GGOs, and the sender's reference."""

    reference = Items(Reference(), most=MAX_FILTER_VALUES, metadata=many(REFERENCE))

    def _filters(self, data: dict[str, Any]) -> GgoFilters:
        return TransferFilters(**data)


class FilteredRequest(Schema):
    """A request with `filters`, whose naive times are in UTC."""

    @post_load
    def _place_filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        try:
            data["filters"] = _placed(data["filters"], self._zone(data))
        except OverflowError as error:
            raise ValidationError({"filters": ["A time is out of bounds."]}) from error
        return data

    def _zone(self, _data: dict[str, Any]) -> tzinfo:
        return UTC


class LocalRequest(FilteredRequest):
    """A filtered request that speaks in a local time; loads it as `zone`."""

    utc_offset = UtcOffset(data_key="utcOffset", metadata=described("Whole hours ahead of UTC", 1))
    timezone = Zone(metadata=described("IANA name, instead of utcOffset", "Europe/Copenhagen"))

    @validates_schema
    def _check_zone(self, data: dict[str, Any], **_: Any) -> None:
        if "utc_offset" in data and "timezone" in data:
            message = "utcOffset and timezone are mutually exclusive."
            raise ValidationError({"utcOffset": [message], "timezone": [message]})

    def _zone(self, data: dict[str, Any]) -> tzinfo:
        offset, zone = data.pop("utc_offset", UTC), data.pop("timezone", None)
        chosen: tzinfo = zone or offset
        data["zone"] = chosen
        return chosen


def _placed(filters: GgoFilters, zone: tzinfo) -> GgoFilters:
    if filters.begin is not None:
        return replace(filters, begin=in_utc(filters.begin, zone))
    if filters.begin_range is not None:
        try:
            both = range_in_utc(*filters.begin_range, zone)
        except ValidationError as error:
            raise ValidationError({"filters": {"beginRange": error.messages}}) from error
        return replace(filters, begin_range=both)
    return filters
