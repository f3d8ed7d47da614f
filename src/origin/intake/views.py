"""Webhooks that DataHubService calls (contract: http-api, Webhooks in)."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Response, request
from marshmallow import fields, post_load, validate

from origin.identity.authentication import Guard, mark
from origin.intake.rules.events import GgoEvent, MeteringPointEvent
from origin.intake.service.events import DataHubEvents
from origin.settings import Settings
from origin.web.base import Blueprint, Schema, json_response, raw_body
from origin.web.collections import Entries
from origin.web.errors import Unauthorized
from origin.web.fields import Text, Time, WholeNumber, in_utc
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.webhooks.rules.signatures import SIGNATURE_HEADER, is_hub_signature

P = ParamSpec("P")
T = TypeVar("T")

blueprint = Blueprint("webhooks_in", __name__, url_prefix="/webhook")

MAX_EMISSIONS = 100
MAX_GRAMS_PER_WH = 1e12
"""Far beyond anything real, and exact in every client's numbers."""


def signed(view: Callable[P, T]) -> Callable[P, T]:
    """Let only bodies in that are signed with WEBHOOK_SECRET; stands above `@arguments`."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        secret = provided(Settings).webhook_secret.get_secret_value()
        given = request.headers.get(SIGNATURE_HEADER)
        if not is_hub_signature(given, secret, raw_body()):
            raise Unauthorized("The signature is missing or wrong", "x-hub-signature")
        return view(*args, **kwargs)

    mark(guarded, Guard(is_signed=True))
    return guarded


class Name(Text):
    """A string that says something."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(validate=validate.Length(min=1), **arguments)


class GramsPerWh(fields.Field[float]):
    """A number as such: no string, no boolean, no infinity."""

    default_error_messages = {"invalid": "Not a valid number."}  # noqa: RUF012 - marshmallow's way

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> float:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        # Before it becomes a float: a whole number may be beyond all of them.
        if not abs(value) <= MAX_GRAMS_PER_WH:
            raise self.make_error("invalid")
        return float(value)


class MeteringPointSchema(Schema):
    """A metering point; of what describes it only type and sector matter here."""

    gsrn = Name(required=True)
    type = Text(required=True, validate=validate.OneOf(["production", "consumption"]))
    sector = Name(required=True)
    technologyCode = Text()  # noqa: N815 - the wire's name
    fuelCode = Text()  # noqa: N815 - the wire's name
    streetCode = Text()  # noqa: N815 - the wire's name
    streetName = Text()  # noqa: N815 - the wire's name
    buildingNumber = Text()  # noqa: N815 - the wire's name
    cityName = Text()  # noqa: N815 - the wire's name
    postCode = Text()  # noqa: N815 - the wire's name
    municipalityCode = Text()  # noqa: N815 - the wire's name

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> MeteringPointEvent:
        return MeteringPointEvent(data["gsrn"], data["type"], data["sector"])


class IssuedGgoSchema(Schema):
    """A GGO as it was issued."""

    address = Name(required=True)
    gsrn = Name(required=True)
    begin = Time(required=True)
    end = Time(required=True)
    sector = Name(required=True)
    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    issue_time = Time(required=True, data_key="issueTime")
    expire_time = Time(required=True, data_key="expireTime")
    technology_code = Text(data_key="technologyCode", load_default="")
    fuel_code = Text(data_key="fuelCode", load_default="")
    emissions = Entries(
        most=MAX_EMISSIONS,
        keys=Name(),
        values=GramsPerWh(),
        load_default=None,
        metadata={"description": "g/Wh by name of the emission"},
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> GgoEvent:
        times = ("begin", "end", "issue_time", "expire_time")
        return GgoEvent(**{**data, **{name: in_utc(data[name]) for name in times}})


class MeteringPointAvailable(Schema):
    """A user has this metering point."""

    sub = Name(required=True)
    meteringpoint = fields.Nested(MeteringPointSchema, required=True)


class MeteringPointsAvailable(Schema):
    """A user has metering points to be imported."""

    sub = Name(required=True)


class GgoIssued(Schema):
    """This GGO was issued to a user."""

    sub = Name(required=True)
    ggo = fields.Nested(IssuedGgoSchema, required=True)


class Heard(Schema):
    """Whether it is done."""

    success = fields.Boolean()


@blueprint.post("/on-meteringpoint-available")
@signed
@rests_in_recovery
@blueprint.arguments(MeteringPointAvailable)
@blueprint.response(200, Heard)
def on_metering_point_available(body: dict[str, Any]) -> Response:
    """Store a metering point."""
    done = provided(DataHubEvents).metering_point_available(body["sub"], body["meteringpoint"])
    return json_response({"success": done})


@blueprint.post("/on-meteringpoints-available")
@signed
@rests_in_recovery
@blueprint.arguments(MeteringPointsAvailable)
@blueprint.response(200, Heard)
def on_metering_points_available(body: dict[str, Any]) -> Response:
    """Import a user's metering points; success tells whether the user exists."""
    return json_response(
        {"success": provided(DataHubEvents).metering_points_available(body["sub"])}
    )


@blueprint.post("/on-ggo-issued")
@blueprint.post("/on-ggos-issued")
@signed
@blueprint.arguments(GgoIssued)
@blueprint.response(200, Heard)
def on_ggo_issued(body: dict[str, Any]) -> Response:
    """Store an issued GGO."""
    return json_response({"success": provided(DataHubEvents).ggo_issued(body["sub"], body["ggo"])})
