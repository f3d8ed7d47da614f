"""Lists of transfers and retirements."""

from marshmallow import fields, validate

from origin.bulk.rules.limits import MAX_LIST
from origin.ggos.schemas import MovedGgoSchema
from origin.operations.rules import ItemStatus
from origin.web.described import (
    AMOUNT,
    AN_OPERATION_ID,
    CONSUMPTION_GSRN,
    REFERENCE,
    described,
    many,
)
from origin.web.fields import Reference, Text
from origin.web.schema import Schema
from origin.web.v2.pages import ListResponse
from origin.web.v2.schema import CommaList, ListQuery, PeriodQuery

_DIRECTIONS = ["in", "out"]
_STATUSES = [each.value for each in ItemStatus]
_COUNTERPART = described("The other account's subject", "bo")
_OPERATION = described("Only lines of this operation", AN_OPERATION_ID)


class TransfersQuery(ListQuery, PeriodQuery):
    """Which transfers a list has. `from` and `to` mean the begin of the GGO."""

    direction = CommaList(
        Text(validate=validate.OneOf(_DIRECTIONS)),
        most=len(_DIRECTIONS),
        load_default=list,
        metadata=described("in: received; out: sent; absent: both", ["out"]),
    )
    account = Text(load_default=None, metadata=_COUNTERPART)
    reference = Reference(load_default=None, metadata=REFERENCE)
    operation = fields.UUID(load_default=None, metadata=_OPERATION)


class RetirementsQuery(ListQuery, PeriodQuery):
    """Which retirements a list has. `from` and `to` mean the begin of the GGO."""

    gsrn = CommaList(
        Text(metadata=CONSUMPTION_GSRN),
        most=MAX_LIST,
        load_default=list,
        metadata=many(CONSUMPTION_GSRN),
    )
    operation = fields.UUID(load_default=None, metadata=_OPERATION)


class LineSchema(Schema):
    """A part that was transferred or retired."""

    id = fields.UUID(required=True, metadata=described("The line's id", AN_OPERATION_ID))
    at = fields.AwareDateTime(
        required=True,
        metadata=described(
            "When its order was accepted; of an incoming transfer, when the ledger had committed it",
            "2026-01-31T13:00:00+00:00",
        ),
    )
    status = fields.String(
        required=True,
        validate=validate.OneOf(_STATUSES),
        metadata=described("What has become of it", "completed"),
    )
    amount = fields.Integer(required=True, metadata=AMOUNT)
    direction = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf([*_DIRECTIONS, None]),
        metadata=described("in or out; null: a retirement", "out"),
    )
    account = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The other account's subject; null: a retirement", "bo"),
    )
    reference = fields.String(
        required=True, allow_none=True, metadata=described("The sender's own name for it", "wind")
    )
    gsrn = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The metering point it is retired to; null: a transfer"),
    )
    ggo = fields.Nested(
        MovedGgoSchema, required=True, metadata=described("The GGO; of a part, its own address")
    )
    operation = fields.UUID(
        required=True,
        allow_none=True,
        metadata=described(
            "The operation that ordered it; null: unknown, or another account's", AN_OPERATION_ID
        ),
    )


class LineList(ListResponse):
    """A page of lines, those of the latest GGOs first."""

    results = fields.List(fields.Nested(LineSchema), required=True, metadata=described("The lines"))
