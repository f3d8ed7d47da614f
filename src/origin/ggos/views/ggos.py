"""An account's GGOs: listing, summaries, totals, and compose (contract: http-api, GGOs)."""

from typing import Any

from flask import Response, request
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from origin.compose.rules import Order, Retire, Transfer
from origin.compose.service import idempotency
from origin.compose.service.compose import Composer
from origin.db.engine import Database
from origin.errors import Refused
from origin.ggos.queries.ggos import settled
from origin.ggos.queries.summaries import own_ggos
from origin.ggos.rules.listing import MAX_CURSOR_LENGTH, ORDERS, Listing, read_cursor, sort_keys
from origin.ggos.schemas import FilteredRequest, GgoFiltersSchema
from origin.ggos.views.listing import Question, listing_response
from origin.ggos.views.summaries import (
    SummaryRequest,
    SummaryResponse,
    TotalRequest,
    TotalResponse,
    summary_response,
    total_response,
)
from origin.identity.authentication import current_user, make_sure_active, requires
from origin.keys.sealing import Signer
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.web.base import Blueprint, Schema, json_response, raw_body
from origin.web.collections import Items
from origin.web.fields import Reference, Text, WholeNumber
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.refusals import shortened

blueprint = Blueprint("ggos", __name__)

MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_PARTS = 1_000
"""Transfers, and retires: more would hold up a worker and the ledger for seconds."""


class GgoSchema(Schema):
    """A GGO."""

    address = fields.String()
    sector = fields.String()
    begin = fields.AwareDateTime()
    end = fields.AwareDateTime()
    amount = fields.Integer(metadata={"description": "Wh"})
    technology = fields.String(allow_none=True)
    technologyCode = fields.String()  # noqa: N815 - the wire's name
    fuelCode = fields.String()  # noqa: N815 - the wire's name
    emissions = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        allow_none=True,
        metadata={"description": "g/Wh by name of the emission"},
    )
    issueGsrn = fields.String(allow_none=True)  # noqa: N815 - the wire's name


class GgoListRequest(FilteredRequest):
    """Which GGOs, and which page of them."""

    filters = fields.Nested(GgoFiltersSchema, required=True)
    offset = WholeNumber(least=0, load_default=0)
    limit = WholeNumber(least=0, load_default=0, metadata={"description": "0: all"})
    order = Items(Text(validate=validate.OneOf(ORDERS)), most=len(ORDERS), load_default=list)
    cursor = Text(
        max_length=MAX_CURSOR_LENGTH,
        metadata={"description": "Empty to begin, then the nextCursor of the page before"},
    )

    @validates_schema
    def _check_start(self, data: dict[str, Any], **_: Any) -> None:
        if "cursor" in data and data.get("offset"):
            message = "cursor and offset are mutually exclusive."
            raise ValidationError({"cursor": [message], "offset": [message]})


class GgoListResponse(Schema):
    """A page of GGOs, and how many match in all."""

    success = fields.Boolean()
    total = fields.Integer()
    results = fields.List(fields.Nested(GgoSchema))
    nextCursor = fields.String(  # noqa: N815 - the wire's name
        allow_none=True,
        metadata={"description": "Where the next page begins; only if a cursor was sent"},
    )


class TransferSchema(Schema):
    """So much to that account."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    reference = Reference()
    account = Text(required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Transfer:
        return Transfer(**data)


class RetireSchema(Schema):
    """So much to the consumption of that metering point."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    gsrn = Text(required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Retire:
        return Retire(**data)


class ComposeRequest(Schema):
    """What is to become of a GGO; what isn't named stays with the caller."""

    address = Text(required=True)
    transfers = Items(fields.Nested(TransferSchema), most=MAX_PARTS, load_default=list)
    retires = Items(fields.Nested(RetireSchema), most=MAX_PARTS, load_default=list)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(Schema):
    """It is done."""

    success = fields.Boolean()
    message = fields.String(allow_none=True)


@blueprint.post("/ggo")
@requires("ggo.read", looks=True)
@blueprint.arguments(GgoListRequest)
@blueprint.response(200, GgoListResponse)
def list_ggos(body: dict[str, Any]) -> Response:
    """List the caller's GGOs that are in step with the ledger."""
    keys = sort_keys(body["order"])
    cursor = body.get("cursor")
    listing = Listing(current_user().subject, body["filters"], keys)
    question = Question(
        conditions=settled(current_user().id, body["filters"], utcnow()),
        listing=listing,
        signer=provided(Signer),
        offset=body["offset"],
        limit=body["limit"] or None,
        after=read_cursor(cursor, listing, provided(Signer)) if cursor else None,
        paged=cursor is not None,
    )
    return listing_response(provided(Database), question)


@blueprint.post("/ggo/summary")
@requires("ggo.read")
@blueprint.arguments(SummaryRequest)
@blueprint.response(200, SummaryResponse)
def summary(body: dict[str, Any]) -> Response:
    """Sum the caller's GGOs by time and groups, operations in flight counted as done."""
    return summary_response(own_ggos(current_user().id, body["filters"], utcnow()), body)


@blueprint.post("/ggo/get-total-amount")
@requires("ggo.read", looks=True)
@blueprint.arguments(TotalRequest)
@blueprint.response(200, TotalResponse)
def total_amount(body: dict[str, Any]) -> Response:
    """Sum the caller's GGOs, operations in flight counted as done."""
    return total_response(own_ggos(current_user().id, body["filters"], utcnow()))


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body within 24 hours gets the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH},
}


@blueprint.post("/ggo/compose")
@blueprint.post("/compose")
@requires("ggo.transfer", "ggo.retire", cached=False, looks=True)
@rests_in_recovery
@blueprint.doc(parameters=[_IDEMPOTENCY_KEY])
@blueprint.arguments(ComposeRequest)
@blueprint.response(200, DoneResponse)
def compose_ggo(order: Order) -> Response:
    """Split a GGO into transfers and retires."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        user = current_user()
        provided(Composer).compose(user.id, order, subject=user.subject)
        # Or it would have been refused.
        user.found_active(active=True)
        return json_response(_DONE)
    return _compose_once(key, order)


_DONE = {"success": True, "message": None}


def _compose_once(key: str, order: Order) -> Response:
    """Compose under an Idempotency-Key, or repeat the answer that it had."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise Refused(f"Idempotency-Key: 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} characters")
    make_sure_active()
    user_id = current_user().id
    database = provided(Database)
    lease_s = provided(Settings).lease_seconds
    hold = idempotency.take(database, user_id, key, raw_body(), lease_s)
    if isinstance(hold, idempotency.StoredResponse):
        return json_response(hold.body, hold.status)
    done = idempotency.StoredResponse(200, _DONE)
    try:
        provided(Composer).compose(
            user_id, order, lambda link: idempotency.answer(link, hold, done)
        )
    except Refused as refusal:
        refused = idempotency.StoredResponse(
            400, {"success": False, "message": shortened(refusal.message)}
        )
        with database.link() as link:
            idempotency.answer(link, hold, refused)
        raise
    except Exception:
        idempotency.give_back(database, hold)
        raise
    return json_response(_DONE)
