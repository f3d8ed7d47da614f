"""Filters and the time zone of requests about GGOs (contract: http-api.md, Filters)."""

from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema

from origin.ggos.rules.filters import Category, GgoFilters, TransferFilters
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    BEGIN,
    BEGIN_IN_UTC,
    BEGIN_RANGE,
    END_IN_UTC,
    FUEL_CODE,
    ISSUE_GSRN,
    REFERENCE,
    SECTOR,
    TECHNOLOGY_CODE,
    described,
    many,
)
from origin.web.fields import Reference, Text, Time, in_utc
from origin.web.local_time import TimeRange, UtcOffset, Zone, range_in_utc
from origin.web.schema import Schema

MAX_FILTER_VALUES = 10_000


class GgoFiltersSchema(Schema):
    """Filters over GGOs, combined by AND. Naive times stay naive until the request's zone is known."""

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
            ["5a98397a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a"],
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
    """Filters over transfers: those of GGOs, and the sender's reference."""

    reference = Items(Reference(), most=MAX_FILTER_VALUES, metadata=many(REFERENCE))

    def _filters(self, data: dict[str, Any]) -> GgoFilters:
        return TransferFilters(**data)


class FilteredRequest(Schema):
    """A request with `filters`. Their naive times are in UTC."""

    @post_load
    def _filters_in_utc(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        try:
            data["filters"] = _in_utc(data["filters"], self._zone(data))
        except OverflowError as error:
            raise ValidationError({"filters": ["A time is out of bounds."]}) from error
        return data

    def _zone(self, _data: dict[str, Any]) -> tzinfo:
        return UTC


class LocalRequest(FilteredRequest):
    """A request with `filters` and a time zone, which it loads as `zone`. Naive times are in it."""

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


def _in_utc(filters: GgoFilters, zone: tzinfo) -> GgoFilters:
    """Return the filters with their times in UTC.

    :raises OverflowError: a time has no place in UTC.
    """
    if filters.begin is not None:
        return replace(filters, begin=in_utc(filters.begin, zone))
    if filters.begin_range is not None:
        try:
            both = range_in_utc(*filters.begin_range, zone)
        except ValidationError as error:
            raise ValidationError({"filters": {"beginRange": error.messages}}) from error
        return replace(filters, begin_range=both)
    return filters


class MovedGgoSchema(Schema):
    """The GGO that was moved."""

    address = fields.String(required=True, metadata=ADDRESS)
    begin = fields.AwareDateTime(required=True, metadata=BEGIN_IN_UTC)
    end = fields.AwareDateTime(required=True, metadata=END_IN_UTC)
    sector = fields.String(required=True, metadata=SECTOR)
    technology = fields.String(
        required=True, metadata=described("The label; `Unknown` if there is none", "Wind")
    )
