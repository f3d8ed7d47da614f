"""What requests and answers about operations look like (contract: v2, Operations)."""

from typing import Any

from marshmallow import fields, validate

from origin.operations.rules import ItemStatus, Kind, Status
from origin.web.described import (
    ADDRESS,
    AMOUNT,
    AN_OPERATION_ID,
    BEGIN_IN_UTC,
    END_IN_UTC,
    SECTOR,
    described,
)
from origin.web.fields import Text
from origin.web.schema import Schema
from origin.web.v2.pages import ListResponse
from origin.web.v2.schema import CommaList, ListQuery, PeriodQuery

_KINDS = [each.value for each in Kind]
_STATUSES = [each.value for each in Status]
_ITEM_STATUSES = [each.value for each in ItemStatus]
_A_TIME = "2026-01-31T13:00:00+00:00"
_A_BATCH_ID = "6b" * 64


def _one_of(values: list[str], text: str, example: str) -> fields.String:
    return fields.String(
        required=True, validate=validate.OneOf(values), metadata=described(text, example)
    )


def _filter(values: list[str], text: str, example: str) -> CommaList:
    return CommaList(
        Text(validate=validate.OneOf(values), metadata=described(text, example)),
        most=len(values),
        load_default=list,
        metadata=described(text, [example]),
    )


def _wh(text: str, example: int, **more: Any) -> fields.Integer:
    return fields.Integer(required=True, metadata=described(f"{text}, in Wh", example), **more)


def _time(text: str) -> fields.AwareDateTime:
    return fields.AwareDateTime(
        required=True, allow_none=True, metadata=described(f"{text}, in UTC", _A_TIME)
    )


class OperationsQuery(ListQuery, PeriodQuery):
    """Which operations a list has."""

    kind = _filter(_KINDS, "What they order", "compose")
    status = _filter(_STATUSES, "What has become of them", "completed")
    idempotency_key = Text(
        data_key="idempotencyKey",
        load_default=None,
        metadata=described("The key that their requests had", "order-7"),
    )


class ItemsQuery(ListQuery):
    """Which items of an operation a list has."""

    status = _filter(_ITEM_STATUSES, "What has become of them", "completed")


class OperationActorSchema(Schema):
    """Who ordered."""

    subject = fields.String(required=True, metadata=described("The account's subject", "anna"))
    client = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The client that had the token; null: unknown", "backend"),
    )


class OperationTotalsSchema(Schema):
    """What an operation moves: what is transferred or retired, without remainders."""

    requested = _wh("What is asked for; null: not known", 1500, allow_none=True)
    planned = _wh("What its plan moves; 0 before it is planned", 1500)
    pending = _wh("What is on its way", 1000)
    completed = _wh("What the ledger has committed", 500)
    declined = _wh("What the ledger has refused", 0)
    ggos = fields.Integer(required=True, metadata=described("How many GGOs it spends", 2))


class PlanRefusalSchema(Schema):
    """Why planning found an operation impossible."""

    code = fields.String(required=True, metadata=described("As of an error", "insufficient"))
    detail = fields.String(
        required=True, metadata=described("In words", "Only 500 of 1500 Wh are available")
    )


class OperationLinksSchema(Schema):
    """Paths of this service."""

    self = fields.String(
        required=True, metadata=described("This operation", f"/v2/operations/{AN_OPERATION_ID}")
    )
    items = fields.String(
        required=True, metadata=described("Its items", f"/v2/operations/{AN_OPERATION_ID}/items")
    )
    statement = fields.String(
        required=True, allow_none=True, metadata=described("Its statement; null: it has none")
    )


class OperationSchema(Schema):
    """An order that moves GGOs, and what has become of it."""

    id = fields.UUID(required=True, metadata=described("Its id", AN_OPERATION_ID))
    kind = _one_of(_KINDS, "What it orders", "compose")
    origin = _one_of(["legacy", "api"], "legacy: `/ggo/compose`; api: version 2", "legacy")
    status = _one_of(_STATUSES, "What has become of it", "pending")
    createdAt = _time("When it was ordered")  # noqa: N815 - the wire's name
    acceptedAt = _time("When it was planned, which locks its GGOs")  # noqa: N815
    completedAt = _time("When it became final; null: it is not")  # noqa: N815
    actor = fields.Nested(
        OperationActorSchema, required=True, metadata=described("Who ordered, and by which client")
    )
    idempotencyKey = fields.String(  # noqa: N815
        required=True,
        allow_none=True,
        metadata=described("The Idempotency-Key of its request", "order-7"),
    )
    request = fields.Dict(
        required=True,
        allow_none=True,
        metadata=described(
            "The request's body as it was sent; null: unknown. Of composes of earlier versions it is "
            "told from their effects",
            {"address": "849c0b" + "5e" * 32, "transfers": [{"amount": 1500, "account": "bo"}]},
        ),
    )
    totals = fields.Nested(
        OperationTotalsSchema, required=True, metadata=described("What it moves")
    )
    refusal = fields.Nested(
        PlanRefusalSchema,
        required=True,
        allow_none=True,
        metadata=described("Why it is refused; null: it is not"),
    )
    links = fields.Nested(
        OperationLinksSchema, required=True, metadata=described("Where more about it is")
    )


class OperationList(ListResponse):
    """A page of operations, newest first."""

    results = fields.List(
        fields.Nested(OperationSchema), required=True, metadata=described("The operations")
    )


class ItemSourceSchema(Schema):
    """The GGO that an item spends."""

    address = fields.String(required=True, metadata=ADDRESS)
    amount = fields.Integer(required=True, metadata=AMOUNT)
    begin = fields.AwareDateTime(required=True, metadata=BEGIN_IN_UTC)
    end = fields.AwareDateTime(required=True, metadata=END_IN_UTC)
    sector = fields.String(required=True, metadata=SECTOR)


class PartSchema(Schema):
    """A part of a GGO that an order spends."""

    kind = _one_of(
        ["transfer", "retire", "remainder"], "remainder: it stays with the sender", "transfer"
    )
    amount = fields.Integer(required=True, metadata=AMOUNT)
    account = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The recipient's subject; null: no transfer", "bo"),
    )
    reference = fields.String(
        required=True, allow_none=True, metadata=described("The sender's own name for it", "wind")
    )
    gsrn = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The metering point it is retired to", "571313180400000029"),
    )
    measurementAddress = fields.String(  # noqa: N815
        required=True,
        allow_none=True,
        metadata=described("The ledger's address of the measurement it is retired to"),
    )


class ItemPartSchema(PartSchema):
    """A part of an item's source."""

    address = fields.String(required=True, metadata=ADDRESS)


class ItemLedgerSchema(Schema):
    """An item's batch on the ledger."""

    batchId = fields.String(  # noqa: N815
        required=True,
        allow_none=True,
        metadata=described("The ledger's id of it; null: not signed", _A_BATCH_ID),
    )
    transactionIds = fields.List(  # noqa: N815
        fields.String(),
        required=True,
        metadata=described(
            "The ledger's ids of its transactions; empty: not signed here", [_A_BATCH_ID]
        ),
    )
    submittedAt = _time("When the ledger accepted it")  # noqa: N815
    endedAt = _time("When it ended")  # noqa: N815
    posts = fields.Integer(
        required=True, metadata=described("How often sending it to the ledger was begun", 1)
    )


class ItemRefusalSchema(Schema):
    """Why an item was declined."""

    code = _one_of(["ledger_refused"], "Always this", "ledger_refused")
    ledgerMessage = fields.String(  # noqa: N815
        required=True, allow_none=True, metadata=described("The ledger's words", "Invalid GGO")
    )


class OperationItemSchema(Schema):
    """One GGO that an operation spends. It ends for itself."""

    sequence = fields.Integer(
        required=True, metadata=described("Its place in the operation, from 0", 0)
    )
    status = _one_of(_ITEM_STATUSES, "What has become of it", "completed")
    source = fields.Nested(ItemSourceSchema, required=True, metadata=described("The GGO it spends"))
    parts = fields.List(
        fields.Nested(ItemPartSchema), required=True, metadata=described("What the GGO becomes")
    )
    ledger = fields.Nested(ItemLedgerSchema, required=True, metadata=described("Its batch"))
    refusal = fields.Nested(
        ItemRefusalSchema,
        required=True,
        allow_none=True,
        metadata=described("Why it was declined; null: it was not"),
    )


class OperationItemList(ListResponse):
    """A page of an operation's items, in their order."""

    results = fields.List(
        fields.Nested(OperationItemSchema), required=True, metadata=described("The items")
    )
