"""Webhooks that DataHubService calls (contract: http-api, Webhooks in)."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Response, request
from marshmallow import fields, post_load, validate

from origin.errors import SignatureInvalid
from origin.identity.authentication import Guard, mark
from origin.intake.rules.events import (
    TIMES,
    GgoEvent,
    GgoFault,
    GgoImpossible,
    MeteringPointEvent,
    MeteringPointOfAnother,
)
from origin.intake.service.events import DataHubEvents
from origin.settings import Settings
from origin.web.blueprint import Blueprint
from origin.web.bodies import raw_body
from origin.web.collections import Entries
from origin.web.described import (
    A_PRODUCTION_GSRN,
    ADDRESS,
    AMOUNT,
    BEGIN,
    EMISSIONS_PER_WH,
    END,
    FUEL_CODE,
    GSRN,
    SECTOR,
    SUBJECT,
    TECHNOLOGY_CODE,
    described,
    rejects,
)
from origin.web.fields import Text, Time, WholeNumber, in_utc
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse
from origin.webhooks.rules.signatures import SIGNATURE_HEADER, is_hub_signature

P = ParamSpec("P")
T = TypeVar("T")

blueprint = Blueprint("webhooks_in", __name__, url_prefix="/webhook")

MAX_EMISSIONS = 100
MAX_GRAMS_PER_WH = 1e12
"""Far more than any real emission. A double holds it exactly."""


def signed(view: Callable[P, T]) -> Callable[P, T]:
    """Admit only bodies that are signed with WEBHOOK_SECRET. Place it above `@arguments`."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        secret = provided(Settings).webhook_secret.get_secret_value()
        given = request.headers.get(SIGNATURE_HEADER)
        if not is_hub_signature(given, secret, raw_body()):
            raise SignatureInvalid
        return view(*args, **kwargs)

    mark(guarded, Guard(is_signed=True))
    return guarded


class Name(Text):
    """A string that is not empty."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(validate=validate.Length(min=1), **arguments)


class GramsPerWh(fields.Field[float]):
    """A finite number; a string or a boolean is invalid."""

    default_error_messages = {"invalid": "Not a valid number."}  # noqa: RUF012 - marshmallow's way

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> float:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        # Compare before the conversion: an integer may be too large for a float.
        if not abs(value) <= MAX_GRAMS_PER_WH:
            raise self.make_error("invalid")
        return float(value)


class MeteringPointSchema(Schema):
    """A metering point. Only its GSRN, type and sector are used."""

    gsrn = Name(required=True, metadata=GSRN)
    type = Text(
        required=True,
        validate=validate.OneOf(["production", "consumption"]),
        metadata=described("production or consumption", "production"),
    )
    sector = Name(required=True, metadata=SECTOR)
    technologyCode = Text(metadata=TECHNOLOGY_CODE)  # noqa: N815 - the wire's name
    fuelCode = Text(metadata=FUEL_CODE)  # noqa: N815 - the wire's name
    streetCode = Text(metadata=described("Part of the metering point's address", "0042"))  # noqa: N815 - the wire's name
    streetName = Text(metadata=described("Part of the metering point's address", "Vestergade"))  # noqa: N815 - the wire's name
    buildingNumber = Text(metadata=described("Part of the metering point's address", "7"))  # noqa: N815 - the wire's name
    cityName = Text(metadata=described("Part of the metering point's address", "Kolding"))  # noqa: N815 - the wire's name
    postCode = Text(metadata=described("Part of the metering point's address", "6000"))  # noqa: N815 - the wire's name
    municipalityCode = Text(metadata=described("Part of the metering point's address", "621"))  # noqa: N815 - the wire's name

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> MeteringPointEvent:
        return MeteringPointEvent(data["gsrn"], data["type"], data["sector"])


class IssuedGgoSchema(Schema):
    """An issued GGO."""

    address = Name(required=True, metadata=ADDRESS)
    gsrn = Name(required=True, metadata=GSRN)
    begin = Time(required=True, metadata=BEGIN)
    end = Time(required=True, metadata=END)
    sector = Name(required=True, metadata=SECTOR)
    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    issue_time = Time(
        required=True,
        data_key="issueTime",
        metadata=described(
            "When it was issued; ISO 8601; without an offset in UTC",
            "2026-02-01T00:00:00+00:00",
        ),
    )
    expire_time = Time(
        required=True,
        data_key="expireTime",
        metadata=described(
            "When it can no longer be used; ISO 8601; without an offset in UTC",
            "2027-01-31T13:00:00+00:00",
        ),
    )
    technology_code = Text(data_key="technologyCode", load_default="", metadata=TECHNOLOGY_CODE)
    fuel_code = Text(data_key="fuelCode", load_default="", metadata=FUEL_CODE)
    emissions = Entries(
        most=MAX_EMISSIONS,
        keys=Name(),
        values=GramsPerWh(),
        load_default=None,
        metadata=EMISSIONS_PER_WH,
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> GgoEvent:
        return GgoEvent(**{**data, **{name: in_utc(data[name]) for name in TIMES}})


class MeteringPointAvailable(Schema):
    """A user has this metering point."""

    sub = Name(required=True, metadata=SUBJECT)
    meteringpoint = fields.Nested(
        MeteringPointSchema, required=True, metadata=described("The metering point")
    )


class MeteringPointsAvailable(Schema):
    """A user has metering points to be imported."""

    sub = Name(required=True, metadata=SUBJECT)


class GgoIssued(Schema):
    """This GGO was issued to a user."""

    sub = Name(required=True, metadata=SUBJECT)
    ggo = fields.Nested(
        IssuedGgoSchema, required=True, metadata=described("The GGO that was issued")
    )


class EventResponse(SuccessResponse):
    """Whether the event is stored; false if the user is unknown."""


@blueprint.post("/on-meteringpoint-available")
@signed
@rests_in_recovery
@blueprint.arguments(MeteringPointAvailable)
@blueprint.response(200, EventResponse)
def on_metering_point_available(body: dict[str, Any]) -> Response:
    """Store a metering point of a user.

    `success` is false if the user is unknown: the event is kept for 30 days, and applied at the first
    login.
    """
    done = provided(DataHubEvents).metering_point_available(body["sub"], body["meteringpoint"])
    return json_response({"success": done})


@blueprint.post("/on-meteringpoints-available")
@signed
@rests_in_recovery
@blueprint.arguments(MeteringPointsAvailable)
@blueprint.response(200, EventResponse)
def on_metering_points_available(body: dict[str, Any]) -> Response:
    """Import a user's metering points from DataHub.

    `success` tells whether the user exists.
    """
    return json_response(
        {"success": provided(DataHubEvents).metering_points_available(body["sub"])}
    )


@blueprint.post("/on-ggo-issued")
@blueprint.post("/on-ggos-issued")
@signed
@rejects(
    GgoImpossible({"end": GgoFault.END_NOT_AFTER_BEGIN}),
    MeteringPointOfAnother(A_PRODUCTION_GSRN),
)
@blueprint.arguments(GgoIssued)
@blueprint.response(200, EventResponse)
def on_ggo_issued(body: dict[str, Any]) -> Response:
    """Store a GGO that was issued to a user.

    `success` is false if the user is unknown: the event is kept for 30 days, and applied at the first
    login. It is also false if the address is known with other data.
    """
    return json_response({"success": provided(DataHubEvents).ggo_issued(body["sub"], body["ggo"])})
