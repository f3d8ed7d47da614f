"""An account's GGOs: listing, totals, and compose (contract: http-api, GGOs)."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from origin.api.base import Blueprint, Schema, json_response, raw_body, runtime
from origin.api.fields import Text, Time, WholeNumber, in_utc
from origin.api.security import current_user, requires
from origin.clock import utcnow
from origin.db import ggos as queries
from origin.domain.compose import Order, Retire, Transfer
from origin.domain.filters import Category, GgoFilters
from origin.errors import Refused
from origin.services import idempotency
from origin.services.compose import compose

blueprint = Blueprint("ggos", __name__)

MAX_REFERENCE_LENGTH = 1000
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_FILTER_VALUES = 10_000
MAX_PARTS = 1_000
"""Transfers, and retires: more would hold up a worker and the ledger for seconds."""

_FEW_FILTERS = validate.Length(max=MAX_FILTER_VALUES)
_FEW_PARTS = validate.Length(max=MAX_PARTS)


class TimeRange(Schema):
    """A range of times, both ends included."""

    begin = Time(required=True)
    end = Time(required=True)

    @validates_schema
    def _check_order(self, data: dict[str, datetime], **_: Any) -> None:
        begin, end = (
            time if time.tzinfo else time.replace(tzinfo=UTC)
            for time in (data["begin"], data["end"])
        )
        if begin.utcoffset() != end.utcoffset():
            raise ValidationError("begin and end must have the same offset.", "end")
        if begin > end:
            raise ValidationError("end must not be before begin.", "end")


class GgoFiltersSchema(Schema):
    """Filters over GGOs, combined by AND."""

    begin = Time()
    begin_range = fields.Nested(TimeRange, data_key="beginRange")
    address = fields.List(Text(), validate=_FEW_FILTERS)
    sector = fields.List(Text(), validate=_FEW_FILTERS)
    technology_code = fields.List(Text(), validate=_FEW_FILTERS, data_key="technologyCode")
    fuel_code = fields.List(Text(), validate=_FEW_FILTERS, data_key="fuelCode")
    issue_gsrn = fields.List(Text(), validate=_FEW_FILTERS, data_key="issueGsrn")
    retire_gsrn = fields.List(Text(), validate=_FEW_FILTERS, data_key="retireGsrn")
    retire_address = fields.List(Text(), validate=_FEW_FILTERS, data_key="retireAddress")
    category = fields.Enum(Category, by_value=True)

    @validates_schema
    def _check_begin(self, data: dict[str, Any], **_: Any) -> None:
        if "begin" in data and "begin_range" in data:
            message = "begin and beginRange are mutually exclusive."
            raise ValidationError({"begin": [message], "beginRange": [message]})

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> GgoFilters:
        if "begin" in data:
            data["begin"] = in_utc(data["begin"])
        if "begin_range" in data:
            ends = data["begin_range"]
            data["begin_range"] = (in_utc(ends["begin"]), in_utc(ends["end"]))
        return GgoFilters(**data)


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


class GgoListRequest(Schema):
    """Which GGOs, and which page of them."""

    filters = fields.Nested(GgoFiltersSchema, required=True)
    offset = WholeNumber(least=0, load_default=0)
    limit = WholeNumber(least=0, load_default=0, metadata={"description": "0: all"})
    order = fields.List(Text(validate=validate.OneOf(queries.ORDERS)), load_default=list)


class GgoListResponse(Schema):
    """A page of GGOs, and how many match in all."""

    success = fields.Boolean()
    total = fields.Integer()
    results = fields.List(fields.Nested(GgoSchema))


class TotalRequest(Schema):
    """Which GGOs to sum."""

    filters = fields.Nested(GgoFiltersSchema, required=True)


class TotalResponse(Schema):
    """A sum."""

    success = fields.Boolean()
    amount = fields.Integer(metadata={"description": "Wh"})


class TransferSchema(Schema):
    """So much to that account."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    reference = Text(max_length=MAX_REFERENCE_LENGTH)
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
    transfers = fields.List(fields.Nested(TransferSchema), load_default=list, validate=_FEW_PARTS)
    retires = fields.List(fields.Nested(RetireSchema), load_default=list, validate=_FEW_PARTS)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(Schema):
    """It is done."""

    success = fields.Boolean()
    message = fields.String(allow_none=True)


@blueprint.post("/ggo")
@requires("ggo.read")
@blueprint.arguments(GgoListRequest)
@blueprint.response(200, GgoListResponse)
def list_ggos(body: dict[str, Any]) -> Response:
    """List the caller's GGOs that are in step with the ledger."""
    with runtime().database.reading() as session:
        total, rows = queries.list_settled(
            session,
            current_user().id,
            body["filters"],
            utcnow(),
            order=body["order"],
            offset=body["offset"],
            limit=body["limit"] or None,
        )
    results = [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public API
    return json_response({"success": True, "total": total, "results": results})


@blueprint.post("/ggo/get-total-amount")
@requires("ggo.read")
@blueprint.arguments(TotalRequest)
@blueprint.response(200, TotalResponse)
def total_amount(body: dict[str, Any]) -> Response:
    """Sum the caller's GGOs, operations in flight counted as done."""
    with runtime().database.reading() as session:
        amount = queries.total_amount(session, current_user().id, body["filters"], utcnow())
    return json_response({"success": True, "amount": amount})


@blueprint.post("/ggo/compose")
@blueprint.post("/compose")
@requires("ggo.transfer", "ggo.retire", cached=False)
@blueprint.arguments(ComposeRequest)
@blueprint.response(200, DoneResponse)
def compose_ggo(order: Order) -> Response:
    """Split a GGO into transfers and retires."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        compose(runtime(), current_user().id, order)
        return json_response(_DONE)
    return _compose_once(key, order)


_DONE = {"success": True, "message": None}


def _compose_once(key: str, order: Order) -> Response:
    """Compose under an Idempotency-Key, or repeat the answer that it had."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise Refused(f"Idempotency-Key: 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} characters")
    world, user_id = runtime(), current_user().id
    database = world.database
    lease_s = world.settings.lease_seconds
    hold = idempotency.take(database, user_id, key, raw_body(), lease_s)
    if isinstance(hold, idempotency.Answer):
        return json_response(hold.body, hold.status)
    done = idempotency.Answer(200, _DONE)
    try:
        compose(world, user_id, order, lambda session: idempotency.answer(session, hold, done))
    except Refused as refusal:
        refused = idempotency.Answer(400, {"success": False, "message": refusal.message})
        with database.transaction() as session:
            idempotency.answer(session, hold, refused)
        raise
    except Exception:
        idempotency.give_back(database, hold)
        raise
    return json_response(_DONE)
