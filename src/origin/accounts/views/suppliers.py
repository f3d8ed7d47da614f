"""Finding suppliers (contract: http-api, find-suppliers)."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Response
from marshmallow import ValidationError, fields, validate, validates_schema

from origin.accounts.queries import suppliers as queries
from origin.db.engine import Database
from origin.identity.authentication import current_user, requires
from origin.shared.clock import utcnow
from origin.web.blueprint import Blueprint
from origin.web.described import described
from origin.web.fields import WholeNumber
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("suppliers", __name__)

# The day after the last day must exist, too.
_LAST_DAY = date.max - timedelta(days=1)


class DateRange(Schema):
    """UTC days, both ends included."""

    begin = fields.Date(
        required=True,
        validate=validate.Range(max=_LAST_DAY),
        metadata=described("The first day", "2026-01-01"),
    )
    end = fields.Date(
        required=True,
        validate=validate.Range(max=_LAST_DAY),
        metadata=described("The last day", "2026-01-31"),
    )

    @validates_schema
    def _check_order(self, data: dict[str, date], **_: Any) -> None:
        if data["begin"] > data["end"]:
            raise ValidationError("end must not be before begin.", "end")


class SuppliersRequest(Schema):
    """How much a supplier must store, and how often."""

    date_range = fields.Nested(
        DateRange,
        required=True,
        data_key="dateRange",
        metadata=described("UTC days, both included"),
    )
    min_amount = WholeNumber(
        least=0,
        required=True,
        data_key="minAmount",
        metadata=described("Wh in each period", 1000),
    )
    min_coverage = fields.Float(
        required=True,
        data_key="minCoverage",
        validate=validate.Range(min=0, max=1),
        metadata=described("Share of the periods stored that must reach minAmount", 0.8),
    )


class SuppliersResponse(SuccessResponse):
    """Possible suppliers, the best first."""

    suppliers = fields.List(
        fields.String(metadata=described("An account's subject")),
        metadata=described("Accounts that could supply, the best first", ["bo"]),
    )


@blueprint.post("/accounts/find-suppliers")
@requires("profile")
@blueprint.arguments(SuppliersRequest)
@blueprint.response(200, SuppliersResponse)
def find_suppliers(body: dict[str, Any]) -> Response:
    """Find other accounts that store enough, often enough.

    The account that reaches `minAmount` in the most periods comes first. Expired GGOs don't count.
    """
    days = body["date_range"]
    with provided(Database).reading() as session:
        found = queries.find_suppliers(
            session,
            current_user().id,
            begin=_midnight(days["begin"]),
            end=_midnight(days["end"] + timedelta(days=1)),
            min_amount=body["min_amount"],
            min_coverage=body["min_coverage"],
            now=utcnow(),
        )
    return json_response({"success": True, "suppliers": found})


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
