"""Forecasts (contract: http-api, Forecasts)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

import orjson
from flask import Response
from marshmallow import ValidationError, fields, post_load

from origin.forecasts.rules import (
    MAX_VALUES,
    ForecastFilter,
    ForecastTooLong,
    RecipientUnknown,
    SubmittedForecast,
    fixed_duration,
)
from origin.forecasts.service import Forecasts
from origin.identity.authentication import current_user, requires
from origin.shared.limits import MAX_WH
from origin.web.blueprint import Blueprint
from origin.web.collections import Items
from origin.web.described import (
    AT_TIME,
    BEGIN,
    BEGIN_IN_UTC,
    OFFSET,
    RECIPIENT,
    REFERENCE,
    SECTOR,
    TOTAL,
    described,
    rejects,
)
from origin.web.fields import Reference, Text, Time, WholeNumber, in_utc
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("forecasts", __name__, url_prefix="/forecast")


class Duration(fields.Field[tuple[str, timedelta]]):
    """An ISO 8601 duration of fixed length; loads as its text and its length."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[str, timedelta]:
        del attr, data, kwargs
        try:
            return str(value), fixed_duration(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError(str(error)) from error


NO_ID = UUID(int=0)
"""No forecast has this id, because ids are random."""


class ForecastId(fields.UUID):
    """A forecast's id. Text that is no UUID loads as NO_ID: it matches nothing, without an error."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> UUID:
        try:
            return UUID(str(super()._deserialize(value, attr, data, **kwargs)))
        except ValidationError:
            return NO_ID


class ForecastSubmission(Schema):
    """What is expected to be transferred to an account."""

    account = Text(required=True, metadata=RECIPIENT)
    reference = Reference(required=True, metadata=REFERENCE)
    sector = Text(required=True, metadata=SECTOR)
    begin = Time(required=True, metadata=BEGIN)
    resolution = Duration(
        required=True,
        metadata=described(
            "ISO 8601 duration above zero; without years and months",
            "PT1H",
            type="string",
            format="duration",
        ),
    )
    forecast = Items(
        WholeNumber(least=-MAX_WH),
        least=1,
        most=MAX_VALUES,
        required=True,
        metadata=described("Energy expected, in Wh, period by period", [1000, 1200]),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> SubmittedForecast:
        resolution, step = data["resolution"]
        return SubmittedForecast(
            account=data["account"],
            reference=data["reference"],
            sector=data["sector"],
            begin=in_utc(data["begin"]),
            resolution=resolution,
            step=step,
            amounts=data["forecast"],
        )


class ForecastSubmitted(SuccessResponse):
    """The forecast's id."""

    id = fields.UUID(
        metadata=described("The forecast's id", "5b0a8a5e-3f0e-4a33-9d0c-6d0a5c2b7f41")
    )


class ForecastSchema(Schema):
    """A forecast."""

    id = fields.UUID(
        metadata=described("The forecast's id", "5b0a8a5e-3f0e-4a33-9d0c-6d0a5c2b7f41")
    )
    sender = fields.String(
        metadata=described("The account that sends it: its user's subject", "anna")
    )
    recipient = fields.String(
        metadata=described("The account that is to receive it: its user's subject", "bo")
    )
    created = fields.AwareDateTime(
        metadata=described("When it was received, in UTC", "2026-01-31T12:00:00+00:00")
    )
    begin = fields.AwareDateTime(metadata=BEGIN_IN_UTC)
    end = fields.AwareDateTime(
        metadata=described("When the last period ends, in UTC", "2026-01-31T14:00:00+00:00")
    )
    sector = fields.String(metadata=SECTOR)
    reference = fields.String(metadata=REFERENCE)
    forecast = fields.List(
        fields.Integer(),
        metadata=described("Energy expected, in Wh, period by period", [1000, 1200]),
    )
    resolution = fields.String(
        metadata=described("The length of a period", "PT1H", format="duration")
    )


class ForecastRequest(Schema):
    """Which forecast."""

    id = ForecastId(metadata=described("The forecast's id", "5b0a8a5e-3f0e-4a33-9d0c-6d0a5c2b7f41"))
    reference = Reference(metadata=REFERENCE)
    at_time = Time(data_key="atTime", metadata=AT_TIME)


class ForecastResponse(SuccessResponse):
    """The newest match; null if there is none."""

    forecast = fields.Nested(
        ForecastSchema,
        allow_none=True,
        metadata=described("The newest match; null if there is none"),
    )


class ForecastListRequest(Schema):
    """Which forecasts, and which page of them."""

    offset = WholeNumber(least=0, load_default=0, metadata=OFFSET)
    limit = WholeNumber(
        least=0,
        load_default=0,
        metadata=described("0: as many of the newest as hold 1,000,000 values together", 20),
    )
    reference = Reference(metadata=REFERENCE)
    at_time = Time(data_key="atTime", metadata=AT_TIME)


class ForecastListResponse(SuccessResponse):
    """A page of forecasts, newest first, and how many match in all."""

    total = fields.Integer(metadata=TOTAL)
    forecasts = fields.List(
        fields.Nested(ForecastSchema), metadata=described("Forecasts, the newest first")
    )


class ForecastSeriesResponse(SuccessResponse):
    """References, distinct and sorted."""

    sent = fields.List(
        fields.String(),
        metadata=described("References of forecasts that were sent", ["wind"]),
    )
    received = fields.List(
        fields.String(),
        metadata=described("References of forecasts that were received", ["wind"]),
    )


@blueprint.post("/submit")
@requires("ggo.read")
@rejects(RecipientUnknown("nobody"), ForecastTooLong())
@blueprint.arguments(ForecastSubmission)
@blueprint.response(200, ForecastSubmitted)
def submit_forecast(submission: SubmittedForecast) -> Response:
    """Send a forecast to an account.

    The recipient's subscribers are told. Of one sender to one recipient, the newest 1,000 are kept.
    """
    forecast_id = provided(Forecasts).submit(current_user().id, submission)
    return json_response({"success": True, "id": str(forecast_id)})


@blueprint.post("")
@requires("ggo.read")
@blueprint.arguments(ForecastRequest)
@blueprint.response(200, ForecastResponse)
def get_forecast(body: dict[str, Any]) -> Response:
    """Get the newest match among the forecasts that the caller sent or received.

    If there is none, `success` is false and `forecast` is null, with status 200.
    """
    found = provided(Forecasts).find_newest(current_user().id, _filter(body))
    return json_response({"success": found is not None, "forecast": found})


@blueprint.post("/list")
@requires("ggo.read")
@blueprint.arguments(ForecastListRequest)
@blueprint.response(200, ForecastListResponse)
def list_forecasts(body: dict[str, Any]) -> Response:
    """List the forecasts that the caller sent or received, newest first."""
    total, parts = provided(Forecasts).find(
        current_user().id,
        _filter(body),
        offset=body["offset"],
        limit=body["limit"] or None,
    )
    # Read the first part before the response begins: if the database fails, the status is 503.
    first = next(parts, [])
    return Response(_written(total, chain([first], parts)), mimetype="application/json")


def _written(total: int, parts: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """Yield the response in parts: with a limit it may be too large for memory."""
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
def list_forecast_references() -> Response:
    """List the references under which the caller sent and received forecasts."""
    sent, received = provided(Forecasts).references(current_user().id)
    return json_response({"success": True, "sent": sent, "received": received})


def _filter(body: dict[str, Any]) -> ForecastFilter:
    at_time = body.get("at_time")
    return ForecastFilter(
        id=body.get("id"),
        reference=body.get("reference"),
        at_time=None if at_time is None else in_utc(at_time),
    )
