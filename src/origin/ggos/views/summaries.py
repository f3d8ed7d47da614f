"""Summaries and totals of GGOs and of transfers (contract: http-api.md, `/ggo/summary`)."""

from typing import Any

from flask import Response
from marshmallow import fields

from origin.db.engine import Database
from origin.ggos.queries import summaries as queries
from origin.ggos.rules.filters import Direction
from origin.ggos.rules.summaries import (
    MAX_LABELS,
    MAX_VALUES,
    Grouping,
    RangeOutOfBounds,
    TimeZoneUnknown,
    TooManyLabels,
    TooManyValues,
    filled_labels,
    summarise,
)
from origin.ggos.schemas import (
    FilteredRequest,
    GgoFiltersSchema,
    LocalRequest,
    TransferFiltersSchema,
)
from origin.shared.periods import Resolution
from origin.web.collections import Items
from origin.web.described import AMOUNT, RESOLUTION, described
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse

SUMMARY_REJECTIONS = (
    RangeOutOfBounds(),
    TooManyLabels(MAX_LABELS),
    TooManyValues(MAX_VALUES, 100_000, 60),
    TimeZoneUnknown(),
)
"""Samples of what a summary is rejected for."""


class SummaryRequest(LocalRequest):
    """What to sum, and by which periods of local time and groups."""

    resolution = fields.Enum(Resolution, by_value=True, required=True, metadata=RESOLUTION)
    filters = fields.Nested(
        GgoFiltersSchema,
        required=True,
        metadata=described("Combined by AND; an empty list is no filter"),
    )
    fill = fields.Boolean(
        load_default=False,
        metadata=described("With a beginRange: have a label for each period of it", example=False),
    )
    grouping = Items(
        fields.Enum(Grouping, by_value=True),
        most=len(Grouping),
        load_default=list,
        metadata=described("What to group by, in this order", ["sector"]),
    )


class TransferSummaryRequest(SummaryRequest):
    """A summary of transfers."""

    filters = fields.Nested(
        TransferFiltersSchema,
        required=True,
        metadata=described("Combined by AND; an empty list is no filter"),
    )
    direction = fields.Enum(
        Direction, by_value=True, metadata=described("Absent: both", "outbound")
    )


class TotalRequest(FilteredRequest):
    """What to sum."""

    filters = fields.Nested(
        GgoFiltersSchema,
        required=True,
        metadata=described("Combined by AND; an empty list is no filter"),
    )


class TransferTotalRequest(TotalRequest):
    """Which transfers to sum."""

    filters = fields.Nested(
        TransferFiltersSchema,
        required=True,
        metadata=described("Combined by AND; an empty list is no filter"),
    )
    direction = fields.Enum(
        Direction, by_value=True, metadata=described("Absent: both", "outbound")
    )


class SummaryGroupSchema(Schema):
    """One group, and its Wh for each label."""

    group = fields.List(
        fields.String(), metadata=described("The group's values, in the order of grouping", ["DK1"])
    )
    values = fields.List(
        fields.Integer(allow_none=True, metadata={"description": "Wh"}),
        metadata=described("Wh for each label; null: nothing there", [1000]),
    )


class SummaryResponse(SuccessResponse):
    """Labels, and each group's values for them."""

    labels = fields.List(
        fields.String(), metadata=described("The periods, in local time", ["2026-01-31"])
    )
    groups = fields.List(
        fields.Nested(SummaryGroupSchema), metadata=described("The groups, sorted by their values")
    )


class TotalResponse(SuccessResponse):
    """A sum."""

    amount = fields.Integer(metadata=AMOUNT)


def summary_response(selection: queries.Selection, body: dict[str, Any]) -> Response:
    """Return the answer with the sums of the selection.

    :param body: A loaded `SummaryRequest`.
    :raises Rejected: It would be too long, or the database does not know the zone.
    """
    resolution, grouping, zone = body["resolution"], body["grouping"], body["zone"]
    filled = []
    if body["fill"] and body["filters"].begin_range is not None:
        begin, end = body["filters"].begin_range
        # Checked before the sums: a range with too many labels is rejected.
        filled = filled_labels(begin, end, resolution, zone)
    split = queries.Split(resolution, grouping, zone)
    sums = queries.sums(provided(Database), selection, split)
    found = summarise(sums, resolution, filled, grouped=bool(grouping))
    groups = [{"group": each.group, "values": each.values} for each in found.groups]
    return json_response({"success": True, "labels": found.labels, "groups": groups})


def total_response(selection: queries.Selection) -> Response:
    """Return the answer with the sum of the selection in Wh."""
    amount = queries.total_amount(provided(Database), selection)
    return json_response({"success": True, "amount": amount})
