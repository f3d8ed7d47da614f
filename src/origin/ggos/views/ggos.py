"""An account's GGOs: listing, summary and total (contract: http-api.md, GGOs)."""

from typing import Any

from flask import Response
from marshmallow import ValidationError, fields, validate, validates_schema

from origin.db.engine import Database
from origin.errors import CursorInvalid
from origin.ggos.queries.ggos import synchronized
from origin.ggos.queries.summaries import own_ggos
from origin.ggos.rules.listing import (
    MAX_CURSOR_LENGTH,
    ORDERS,
    Listing,
    read_cursor,
    sort_keys,
)
from origin.ggos.schemas import FilteredRequest, GgoFiltersSchema
from origin.ggos.views.listing import ListingQuery, listing_response
from origin.ggos.views.summaries import (
    SUMMARY_REJECTIONS,
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
from origin.web.blueprint import Blueprint
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    AMOUNT,
    BEGIN_IN_UTC,
    EMISSIONS_PER_WH,
    END_IN_UTC,
    FUEL_CODE,
    ISSUE_GSRN,
    OFFSET,
    SECTOR,
    TECHNOLOGY_CODE,
    TOTAL,
    described,
    rejects,
)
from origin.web.fields import Text, WholeNumber
from origin.web.provided import provided
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("ggos", __name__)

_EXAMPLES = {
    "stored": {
        "summary": "The newest 20 GGOs that can be spent",
        "value": {"filters": {"category": "stored"}, "limit": 20, "order": ["-begin"]},
    },
    "period": {
        "summary": "All of one day, of one sector",
        "value": {
            "filters": {
                "beginRange": {
                    "begin": "2026-01-31T00:00:00+01:00",
                    "end": "2026-01-31T23:00:00+01:00",
                },
                "sector": ["DK1"],
            }
        },
    },
    "first_page": {
        "summary": "The first page of many, by cursor",
        "value": {"filters": {}, "limit": 1000, "cursor": ""},
    },
}


class GgoSchema(Schema):
    """A GGO."""

    address = fields.String(metadata=ADDRESS)
    sector = fields.String(metadata=SECTOR)
    begin = fields.AwareDateTime(metadata=BEGIN_IN_UTC)
    end = fields.AwareDateTime(metadata=END_IN_UTC)
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
    """Which GGOs to list, and which page of them."""

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
    """A page of GGOs, and the number of all that match."""

    total = fields.Integer(metadata=TOTAL)
    results = fields.List(fields.Nested(GgoSchema), metadata=described("What matches"))
    nextCursor = fields.String(  # noqa: N815 - the wire's name
        allow_none=True,
        metadata=described("Where the next page begins; only if a cursor was sent"),
    )


@blueprint.post("/ggo")
@requires("ggo.read")
@rejects(CursorInvalid())
@blueprint.arguments(GgoListRequest, examples=_EXAMPLES)
@blueprint.response(200, GgoListResponse)
def list_ggos(body: dict[str, Any]) -> Response:
    """List the caller's GGOs that are in step with the ledger.

    To read many, send `cursor`: empty at first, then the `nextCursor` of the page before. A GGO with a
    compose under way is not listed.
    """
    keys = sort_keys(body["order"])
    cursor = body.get("cursor")
    listing = Listing(current_user().subject, body["filters"], keys)
    query = ListingQuery(
        conditions=synchronized(current_user().id, body["filters"], utcnow()),
        listing=listing,
        signer=provided(Signer),
        offset=body["offset"],
        limit=body["limit"] or None,
        after=read_cursor(cursor, listing, provided(Signer)) if cursor else None,
        paged=cursor is not None,
    )
    return listing_response(provided(Database), query)


@blueprint.post("/ggo/summary")
@requires("ggo.read")
@rejects(*SUMMARY_REJECTIONS)
@blueprint.arguments(SummaryRequest)
@blueprint.response(200, SummaryResponse)
def summarize_ggos(body: dict[str, Any]) -> Response:
    """Sum the caller's GGOs by time and groups.

    Operations in flight count as done. Without a `category` every record counts, a spent GGO beside
    its parts: such a sum is a history, not a balance.
    """
    return summary_response(own_ggos(current_user().id, body["filters"], utcnow()), body)


@blueprint.post("/ggo/get-total-amount")
@requires("ggo.read")
@blueprint.arguments(TotalRequest)
@blueprint.response(200, TotalResponse)
def sum_ggos(body: dict[str, Any]) -> Response:
    """Sum the caller's GGOs.

    Operations in flight count as done.
    """
    return total_response(own_ggos(current_user().id, body["filters"], utcnow()))
