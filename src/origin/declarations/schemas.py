"""The request and answer of environment declarations (contract: http-api.md, same section)."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from marshmallow import ValidationError, fields, post_load

from origin.declarations.rules.declarations import DeclarationQuery
from origin.shared.periods import Resolution
from origin.web.collections import Items
from origin.web.described import (
    A_BEGIN,
    A_CONSUMPTION_GSRN,
    BEGIN_RANGE,
    EMISSIONS_PER_WH,
    RESOLUTION,
    described,
)
from origin.web.fields import Text, in_utc
from origin.web.local_time import TimeRange, UtcOffset, range_in_utc
from origin.web.schema import Schema, SuccessResponse

MAX_POINTS = 10_000
"""Metering points in one declaration."""


class DeclarationRange(TimeRange):
    """Both ends included; a time without an offset is in the request's `utcOffset`."""


class DeclarationRequest(Schema):
    """Which consumption to declare, and by which periods."""

    gsrn = Items(
        Text(),
        least=1,
        most=MAX_POINTS,
        required=True,
        metadata=described("The caller's consumption metering points", [A_CONSUMPTION_GSRN]),
    )
    resolution = fields.Enum(Resolution, by_value=True, required=True, metadata=RESOLUTION)
    begin_range = fields.Nested(
        DeclarationRange, required=True, data_key="beginRange", metadata=BEGIN_RANGE
    )
    utc_offset = UtcOffset(
        data_key="utcOffset",
        metadata=described("Hours by which local time is ahead of UTC", 1, default=0),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> DeclarationQuery:
        zone = data.get("utc_offset", UTC)
        begin, end = _in_utc(**data["begin_range"], zone=zone)
        return DeclarationQuery(
            gsrns=tuple(dict.fromkeys(data["gsrn"])),
            begin=begin,
            end=end,
            resolution=data["resolution"],
            offset=zone.utcoffset(None),
        )


def _in_utc(begin: datetime, end: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the range in UTC.

    :raises ValidationError: it is no range, or an end has no place in UTC or in local time.
    """
    try:
        for time in (begin, end):
            in_utc(time, zone)
            # EnergyTypeService is asked for an hour more.
            in_utc(time + timedelta(hours=1), zone).astimezone(zone)
        in_utc(begin, zone).astimezone(zone)
    except OverflowError:
        raise ValidationError({"beginRange": {"end": ["Not a valid datetime."]}}) from None
    try:
        return range_in_utc(begin, end, zone)
    except ValidationError as error:
        raise ValidationError({"beginRange": error.messages}) from error


_Numbers = fields.Dict(keys=fields.String(), values=fields.Float())
_BY_BEGIN = fields.AwareDateTime(metadata=described("ISO 8601 with the offset asked for"))


class DeclarationSchema(Schema):
    """A declaration by begin of its periods, and in total."""

    emissions = fields.Dict(
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described(
            "g by name of the emission, by begin of the period",
            {A_BEGIN: {"CO2": 1.2}},
        ),
    )
    emissionsPerWh = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described("g/Wh, by begin of the period", {A_BEGIN: {"CO2": 1.2}}),
    )
    consumedAmount = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=fields.Float(),
        metadata=described("Consumption in Wh, by begin of the period", {A_BEGIN: 900}),
    )
    retiredAmount = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=fields.Float(),
        metadata=described("Retired to it, in Wh, by begin of the period", {A_BEGIN: 900}),
    )
    technologies = fields.Dict(
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described("Wh by technology, by begin of the period", {A_BEGIN: {"Wind": 900}}),
    )
    totalEmissions = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(),
        values=fields.Float(),
        metadata=described("g by name of the emission", {"CO2": 1.2}),
    )
    totalEmissionsPerWh = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(), values=fields.Float(), metadata=EMISSIONS_PER_WH
    )
    totalConsumedAmount = fields.Integer(metadata=described("Consumption in Wh", 900))  # noqa: N815 - the wire's name
    totalRetiredAmount = fields.Integer(metadata=described("Retired to it, in Wh", 900))  # noqa: N815 - the wire's name
    totalTechnologies = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(),
        values=fields.Integer(),
        metadata=described("Wh by technology", {"Wind": 900}),
    )


class DeclarationResponse(SuccessResponse):
    """What the consumption came from, and what all consumption of those sectors came from."""

    individual = fields.Nested(DeclarationSchema, metadata=described("Of the caller's consumption"))
    general = fields.Nested(
        DeclarationSchema,
        metadata=described("Of all consumption in the same sectors: the residual mix"),
    )
