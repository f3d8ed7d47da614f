"""Forecasts (contract: http-api, Forecasts)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

import orjson
from flask import Response
from marshmallow import ValidationError, fields, post_load

from origin.db.engine import Database
from origin.forecasts import service
from origin.forecasts.rules import fixed_duration
from origin.forecasts.service import Forecasts, Submission, Wanted
from origin.identity.authentication import current_user, requires
from origin.shared.limits import MAX_WH
from origin.web.base import Blueprint, Schema, json_response
from origin.web.collections import Items
from origin.web.fields import Reference, Text, Time, WholeNumber, in_utc
from origin.web.provided import provided

blueprint = Blueprint("forecasts", __name__, url_prefix="/forecast")

MAX_VALUES = 35_136
"""A leap year of quarters of an hour."""


class Duration(fields.Field[tuple[str, timedelta]]):
    """An ISO 8601 duration of fixed length: as it was written, and how long it is."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[str, timedelta]:
        del attr, data, kwargs
        try:
            return str(value), fixed_duration(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError(str(error)) from error


NO_ID = UUID(int=0)
"""The id of no forecast: theirs are random."""


class ForecastId(fields.UUID):
    """An id of a forecast; what can't be one is nobody's, and loads as NO_ID."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> UUID:
        try:
            return UUID(str(super()._deserialize(value, attr, data, **kwargs)))
        except ValidationError:
            return NO_ID


class ForecastSubmission(Schema):
    """What is expected to be transferred to an account."""

    account = Text(required=True)
    reference = Reference(required=True)
    sector = Text(required=True)
    begin = Time(required=True)
    resolution = Duration(
        required=True,
        metadata={
            "type": "string",
            "format": "duration",
            "description": "ISO 8601 duration above zero; without years and months",
        },
    )
    forecast = Items(
        WholeNumber(least=-MAX_WH),
        least=1,
        most=MAX_VALUES,
        required=True,
        metadata={"description": "Wh"},
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Submission:
        resolution, step = data["resolution"]
        return Submission(
            account=data["account"],
            reference=data["reference"],
            sector=data["sector"],
            begin=in_utc(data["begin"]),
            resolution=resolution,
            step=step,
            amounts=data["forecast"],
        )


class ForecastSubmitted(Schema):
    """The forecast's id."""

    success = fields.Boolean()
    id = fields.UUID()


class ForecastSchema(Schema):
    """A forecast."""

    id = fields.UUID()
    sender = fields.String()
    recipient = fields.String()
    created = fields.AwareDateTime()
    begin = fields.AwareDateTime()
    end = fields.AwareDateTime()
    sector = fields.String()
    reference = fields.String()
    forecast = fields.List(fields.Integer(), metadata={"description": "Wh"})
    resolution = fields.String(metadata={"format": "duration"})


class ForecastRequest(Schema):
    """Which forecast."""

    id = ForecastId()
    reference = Reference()
    at_time = Time(data_key="atTime")


class ForecastResponse(Schema):
    """The newest that matches; null where none does."""

    success = fields.Boolean()
    forecast = fields.Nested(ForecastSchema, allow_none=True)


class ForecastListRequest(Schema):
    """Which forecasts, and which page of them."""

    offset = WholeNumber(least=0, load_default=0)
    limit = WholeNumber(
        least=0,
        load_default=0,
        metadata={"description": "0: as many of the newest as hold 1,000,000 values together"},
    )
    reference = Reference()
    at_time = Time(data_key="atTime")


class ForecastListResponse(Schema):
    """A page of forecasts, newest first, and how many match in all."""

    success = fields.Boolean()
    total = fields.Integer()
    forecasts = fields.List(fields.Nested(ForecastSchema))


class ForecastSeriesResponse(Schema):
    """References, distinct and sorted."""

    success = fields.Boolean()
    sent = fields.List(fields.String())
    received = fields.List(fields.String())


@blueprint.post("/submit")
@requires("ggo.read")
@blueprint.arguments(ForecastSubmission)
@blueprint.response(200, ForecastSubmitted)
def submit(submission: Submission) -> Response:
    """Tell an account what to expect."""
    forecast_id = provided(Forecasts).submit(current_user().id, submission)
    return json_response({"success": True, "id": str(forecast_id)})


@blueprint.post("")
@requires("ggo.read")
@blueprint.arguments(ForecastRequest)
@blueprint.response(200, ForecastResponse)
def get_forecast(body: dict[str, Any]) -> Response:
    """Get the newest match among the forecasts that the caller sent or received."""
    found = service.find_newest(provided(Database), current_user().id, _wanted(body))
    return json_response({"success": found is not None, "forecast": found})


@blueprint.post("/list")
@requires("ggo.read")
@blueprint.arguments(ForecastListRequest)
@blueprint.response(200, ForecastListResponse)
def list_forecasts(body: dict[str, Any]) -> Response:
    """List the forecasts that the caller sent or received, newest first."""
    total, parts = service.find(
        provided(Database),
        current_user().id,
        _wanted(body),
        offset=body["offset"],
        limit=body["limit"] or None,
    )
    # Where the database can't answer, let it be known before the answer begins.
    first = next(parts, [])
    return Response(_written(total, chain([first], parts)), mimetype="application/json")


def _written(total: int, parts: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """The answer in parts: a limit may ask for more than memory should hold."""
    yield b'{"success":true,"total":%d,"forecasts":[' % total
    separator = b""
    for part in parts:
        if part:
            yield separator + orjson.dumps(part)[1:-1]
            separator = b","
    yield b"]}"


@blueprint.post("/series")
@requires("ggo.read")
@blueprint.response(200, ForecastSeriesResponse)
def series() -> Response:
    """List the references under which the caller sent and received forecasts."""
    with provided(Database).reading() as session:
        sent, received = service.references(session, current_user().id)
    return json_response({"success": True, "sent": sent, "received": received})


def _wanted(body: dict[str, Any]) -> Wanted:
    at_time = body.get("at_time")
    return Wanted(
        id=body.get("id"),
        reference=body.get("reference"),
        at_time=None if at_time is None else in_utc(at_time),
    )
