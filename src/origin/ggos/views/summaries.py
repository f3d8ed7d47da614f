"""What the summaries and totals of GGOs and of transfers share (contract: http-api, /ggo/summary)."""

from typing import Any

from flask import Response
from marshmallow import fields

from origin.db.engine import Database
from origin.ggos.queries import summaries as queries
from origin.ggos.queries.ggos import Caller
from origin.ggos.rules.filters import Direction
from origin.ggos.rules.summaries import Grouping, filled_labels, summarise
from origin.ggos.schemas import (
    FilteredRequest,
    GgoFiltersSchema,
    LocalRequest,
    TransferFiltersSchema,
)
from origin.identity.authentication import current_user
from origin.shared.periods import Resolution
from origin.web.base import Schema, json_response
from origin.web.collections import Items
from origin.web.provided import provided


class SummaryRequest(LocalRequest):
    """What to sum, by which periods of local time, and by which groups."""

    resolution = fields.Enum(Resolution, by_value=True, required=True)
    filters = fields.Nested(GgoFiltersSchema, required=True)
    fill = fields.Boolean(
        load_default=False,
        metadata={"description": "With a beginRange: have a label for each period of it"},
    )
    grouping = Items(fields.Enum(Grouping, by_value=True), most=len(Grouping), load_default=list)


class TransferSummaryRequest(SummaryRequest):
    """A summary of transfers."""

    filters = fields.Nested(TransferFiltersSchema, required=True)
    direction = fields.Enum(Direction, by_value=True, metadata={"description": "Absent: both"})


class TotalRequest(FilteredRequest):
    """What to sum."""

    filters = fields.Nested(GgoFiltersSchema, required=True)


class TransferTotalRequest(TotalRequest):
    """Which transfers to sum."""

    filters = fields.Nested(TransferFiltersSchema, required=True)
    direction = fields.Enum(Direction, by_value=True, metadata={"description": "Absent: both"})


class GroupSchema(Schema):
    """One group, and its Wh for each label."""

    group = fields.List(fields.String())
    values = fields.List(fields.Integer(allow_none=True, metadata={"description": "Wh"}))


class SummaryResponse(Schema):
    """Labels, and the values of each group for them."""

    success = fields.Boolean()
    labels = fields.List(fields.String())
    groups = fields.List(fields.Nested(GroupSchema))


class TotalResponse(Schema):
    """A sum."""

    success = fields.Boolean()
    amount = fields.Integer(metadata={"description": "Wh"})


def summary_response(selection: queries.Selection, body: dict[str, Any]) -> Response:
    """Sum these as the request's body, a `SummaryRequest`'s, says.

    :raises Refused: it would be too long, or the database doesn't know the zone.
    """
    resolution, grouping, zone = body["resolution"], body["grouping"], body["zone"]
    filled = []
    if body["fill"] and body["filters"].begin_range is not None:
        begin, end = body["filters"].begin_range
        # Refuses what is too long before anything is summed.
        filled = filled_labels(begin, end, resolution, zone)
    split = queries.Split(resolution, grouping, zone)
    sums = queries.sums(provided(Database), selection, split)
    found = summarise(sums, resolution, filled, grouped=bool(grouping))
    groups = [{"group": each.group, "values": each.values} for each in found.groups]
    return json_response({"success": True, "labels": found.labels, "groups": groups})


def total_response(selection: queries.Selection) -> Response:
    """Sum these, in a view that `looks`."""
    user = current_user()
    is_active, amount = queries.total_amount(
        provided(Database), Caller(user.id, user.subject), selection
    )
    user.found_active(is_active)
    return json_response({"success": True, "amount": amount})
