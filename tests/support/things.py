"""Views of version 2 for tests: things of nobody, kept nowhere."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Flask, Response, request
from marshmallow import fields, validate

from devstack.openapi_document import SETTINGS
from origin.errors import (
    BodyTooLarge,
    CursorInvalid,
    MeteringPointUnavailable,
    NotAcceptable,
    NotFound,
)
from origin.identity.authentication import Guard, mark
from origin.keys.sealing import Signer
from origin.settings import Settings
from origin.shared.uuid7 import uuid7
from origin.telemetry.requests import watch_requests
from origin.web.collections import Items
from origin.web.described import described, rejects
from origin.web.error_handlers import register_error_handlers
from origin.web.fields import Text, WholeNumber
from origin.web.provided import provide
from origin.web.responses import json_response
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.pages import ListResponse, page_of
from origin.web.v2.requests import (
    IDEMPOTENCY_KEY,
    PREFER,
    id_in_path,
    id_parameter,
    idempotency_key,
    negotiated,
    preferred_wait_s,
)
from origin.web.v2.schema import (
    AwareTime,
    Body,
    CommaList,
    LimitedItems,
    ListQuery,
    Percentage,
    PeriodBody,
    PeriodQuery,
    QueryNumber,
)

MAX_BODY_BYTES = 100_000
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OFFERED = ("application/json", "text/csv", "application/pdf")


@dataclass(frozen=True)
class Thing:
    """A thing."""

    id: UUID
    created_at: datetime


# Newest first. Three are of each second.
THINGS = sorted(
    (Thing(uuid7(at), at) for number in range(25) for at in [NOW - timedelta(seconds=number // 3)]),
    key=lambda each: (each.created_at, each.id),
    reverse=True,
)


class ThingSchema(Body):
    """A thing."""

    id = fields.UUID(metadata=described("Its id", str(THINGS[0].id)))


class ThingsQuery(ListQuery, PeriodQuery):
    """Which things."""

    kind = CommaList(
        Text(validate=validate.OneOf(["round", "square"])),
        most=2,
        load_default=list,
        metadata=described("Kinds", ["round"]),
    )
    size = QueryNumber(least=-5, most=5, metadata=described("A size", 1))


class ThingList(ListResponse):
    """A page of things."""

    results = fields.List(fields.Nested(ThingSchema), metadata=described("Things"))


class ThingTargetBody(Body):
    """Who gets what."""

    account = Text(required=True, metadata=described("The recipient", "bo"))
    amount = WholeNumber(least=1, metadata=described("Wh", 1))
    share = Percentage(metadata=described("A part", "12.5"))


@dataclass(eq=False)
class TooManyParts(BodyTooLarge):
    """An order has too many parts. The table words it as its base."""

    limit_bytes: int


class OrderBody(Body):
    """An order."""

    targets = Items(
        fields.Nested(ThingTargetBody),
        least=1,
        most=100,
        required=True,
        metadata=described("Targets"),
    )
    parts = LimitedItems(
        Text(), most=2, beyond=TooManyParts, load_default=list, metadata=described("Parts", ["a"])
    )
    period = fields.Nested(PeriodBody, metadata=described("When"))
    expires_before = AwareTime(
        data_key="expiresBefore", metadata=described("A time", "2026-01-01T00:00:00Z")
    )


class OrderAnswer(Body):
    """What was read."""

    read = fields.String(metadata=described("What was read", "…"))


blueprint = Blueprint("things", __name__)


def marked(view: Any) -> Any:
    """Mark a view as one that needs a scope, for the description."""
    mark(view, Guard(scopes=("ggo.read",)))
    return view


@blueprint.get("/v2/more-things")
@blueprint.get("/v2/things")
@marked
@rejects(CursorInvalid())
@blueprint.query(ThingsQuery)
@blueprint.response(200, ThingList)
def list_things(query: dict[str, Any]) -> Response:
    """List the things, newest first."""
    page = page_of(request.headers.get("X-Account", "anna"), query)
    rows = [
        each for each in THINGS if page.after is None or (each.created_at, each.id) < page.after
    ]
    return page.response(
        rows[: page.limit + 1],
        lambda each: (each.created_at, each.id),
        lambda each: {"id": each.id},
    )


@blueprint.get("/v2/things/<thing_id>", parameters=[id_parameter("thing_id", "The thing's id")])
@marked
@blueprint.query()
@blueprint.response(200, ThingSchema)
def get_thing(thing_id: str) -> Response:
    """Get a thing."""
    if id_in_path(thing_id) != THINGS[0].id:
        raise NotFound
    return json_response({"id": thing_id})


@blueprint.get("/v2/things/document")
@marked
@rejects(NotAcceptable(OFFERED))
@blueprint.query()
@blueprint.response(200, OrderAnswer)
def get_document() -> Response:
    """Get the document of all things."""
    return Response(b"", mimetype=negotiated(OFFERED))


@blueprint.post("/v2/things")
@marked
@rejects(MeteringPointUnavailable(["571313180400000029"]))
@blueprint.doc(parameters=[IDEMPOTENCY_KEY, PREFER])
@blueprint.body(OrderBody)
@blueprint.response(202, OrderAnswer)
def order_things(body: dict[str, Any]) -> Response:
    """Order things."""
    read = {"key": idempotency_key(), "wait": preferred_wait_s(), "body": str(body)}
    return json_response({"read": read}, 202)


def things_app(secrets: tuple[str, ...] = ("a secret",)) -> Flask:
    """Return an app with these views, the service's error handlers, and nothing else."""
    app = Flask(__name__)
    settings = Settings.of({**SETTINGS, "max_body_bytes": str(MAX_BODY_BYTES)})
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    provide(app, [settings, Signer(secrets)])
    watch_requests(app)
    register_error_handlers(app)
    app.register_blueprint(blueprint)
    return app
