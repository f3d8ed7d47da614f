"""An account's GGOs: listing, summaries and totals (contract: http-api.md, GGOs)."""

from typing import Any

from flask import Response
from marshmallow import ValidationError, fields, validate, validates_schema

from origin.db.engine import Database
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
from origin.shared.clock import utcnow
from origin.web.base import Blueprint, Schema
from origin.web.collections import Items
from origin.web.fields import Text, WholeNumber
from origin.web.provided import provided

blueprint = Blueprint("ggos", __name__)


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
