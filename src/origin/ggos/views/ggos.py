"""An account's GGOs: listing, summaries, totals, and compose (contract: http-api, GGOs)."""

from typing import Any

from flask import Response, request
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from origin.compose.rules import Order, Retire, Transfer
from origin.compose.service import idempotency
from origin.compose.service.compose import Composer
from origin.db.engine import Database
from origin.errors import IdempotencyKeyInvalid, Rejected
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
from origin.identity.authentication import current_user, requires
from origin.keys.sealing import Signer
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.web.blueprint import Blueprint
from origin.web.bodies import raw_body
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    AMOUNT,
    BEGIN,
    EMISSIONS_PER_WH,
    END,
    FUEL_CODE,
    GSRN,
    ISSUE_GSRN,
    OFFSET,
    RECIPIENT,
    REFERENCE,
    SECTOR,
    TECHNOLOGY_CODE,
    TOTAL,
    described,
)
from origin.web.errors import worded
from origin.web.fields import Reference, Text, WholeNumber
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("ggos", __name__)

MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_PARTS = 1_000
"""Transfers, and retires: more would hold up a worker and the ledger for seconds."""


class GgoSchema(Schema):
    """A GGO."""

    address = fields.String(metadata=ADDRESS)
    sector = fields.String(metadata=SECTOR)
    begin = fields.AwareDateTime(metadata=BEGIN)
    end = fields.AwareDateTime(metadata=END)
    amount = fields.Integer(metadata=AMOUNT)
    technology = fields.String(
        allow_none=True, metadata=described("The label of technology and fuel code", "Wind")
    )
    technologyCode = fields.String(metadata=TECHNOLOGY_CODE)  # noqa: N815 - the wire's name
    fuelCode = fields.String(metadata=FUEL_CODE)  # noqa: N815 - the wire's name
    emissions = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        allow_none=True,
        metadata=EMISSIONS_PER_WH,
    )
    issueGsrn = fields.String(allow_none=True, metadata=ISSUE_GSRN)  # noqa: N815 - the wire's name


class GgoListRequest(FilteredRequest):
    """Which GGOs, and which page of them."""

    filters = fields.Nested(
        GgoFiltersSchema,
        required=True,
        metadata=described("Combined by AND; an empty list is no filter"),
    )
    offset = WholeNumber(least=0, load_default=0, metadata=OFFSET)
    limit = WholeNumber(least=0, load_default=0, metadata=described("How many at most; 0: all", 20))
    order = Items(
        Text(validate=validate.OneOf(ORDERS)),
        most=len(ORDERS),
        load_default=list,
        metadata=described("What to sort by; - for descending", ["-begin"]),
    )
    cursor = Text(
        max_length=MAX_CURSOR_LENGTH,
        metadata=described("Empty to begin, then the nextCursor of the page before"),
    )

    @validates_schema
    def _check_start(self, data: dict[str, Any], **_: Any) -> None:
        if "cursor" in data and data.get("offset"):
            message = "cursor and offset are mutually exclusive."
            raise ValidationError({"cursor": [message], "offset": [message]})


class GgoListResponse(SuccessResponse):
    """A page of GGOs, and how many match in all."""

    total = fields.Integer(metadata=TOTAL)
    results = fields.List(fields.Nested(GgoSchema), metadata=described("What matches"))
    nextCursor = fields.String(  # noqa: N815 - the wire's name
        allow_none=True,
        metadata=described("Where the next page begins; only if a cursor was sent"),
    )


class TransferSchema(Schema):
    """So much to that account."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    reference = Reference(metadata=REFERENCE)
    account = Text(required=True, metadata=RECIPIENT)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Transfer:
        return Transfer(**data)


class RetireSchema(Schema):
    """So much to the consumption of that metering point."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    gsrn = Text(required=True, metadata=GSRN)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Retire:
        return Retire(**data)


class ComposeRequest(Schema):
    """What is to become of a GGO; what isn't named stays with the caller."""

    address = Text(required=True, metadata=ADDRESS)
    transfers = Items(
        fields.Nested(TransferSchema),
        most=MAX_PARTS,
        load_default=list,
        metadata=described("What is given to other accounts"),
    )
    retires = Items(
        fields.Nested(RetireSchema),
        most=MAX_PARTS,
        load_default=list,
        metadata=described("What is retired to the caller's own consumption"),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(SuccessResponse):
    """It is done."""

    message = fields.String(
        allow_none=True, metadata=described("Why not: a sentence, or messages by field")
    )


@blueprint.post("/ggo")
@requires("ggo.read")
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
@requires("ggo.read")
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
@requires("ggo.transfer", "ggo.retire", cached=False)
@rests_in_recovery
@blueprint.doc(parameters=[_IDEMPOTENCY_KEY])
@blueprint.arguments(ComposeRequest)
@blueprint.response(200, DoneResponse)
def compose_ggo(order: Order) -> Response:
    """Split a GGO into transfers and retires."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        provided(Composer).compose(current_user().id, order)
        return json_response(_DONE)
    return _compose_once(key, order)


_DONE = {"success": True, "message": None}


def _compose_once(key: str, order: Order) -> Response:
    """Compose under an Idempotency-Key, or repeat the answer that it had."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH)
    user_id = current_user().id
    database = provided(Database)
    lease_s = provided(Settings).lease_seconds
    hold = idempotency.take(database, user_id, key, raw_body(), lease_s)
    if isinstance(hold, idempotency.Answer):
        return json_response(hold.body, hold.status)
    done = idempotency.Answer(200, _DONE)
    try:
        provided(Composer).compose(
            user_id, order, lambda link: idempotency.answer(link, hold, done)
        )
    except Rejected as error:
        rejected = worded(error)
        with database.link() as link:
            idempotency.answer(link, hold, idempotency.Answer(rejected.status, rejected.body))
        raise
    except Exception:
        idempotency.give_back(database, hold)
        raise
    return json_response(_DONE)
