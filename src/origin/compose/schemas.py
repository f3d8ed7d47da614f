"""The request and answer of a compose (contract: http-api.md, `POST /ggo/compose`)."""

from typing import Any

from marshmallow import fields, post_load

from origin.compose.rules import Order, Retire, Transfer
from origin.web.base import Schema
from origin.web.collections import Items
from origin.web.fields import Reference, Text, WholeNumber

MAX_PARTS = 1_000
"""The most transfers, and the most retires, of a compose: more would block the ledger for seconds."""


class TransferSchema(Schema):
    """A transfer of an amount to an account."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    reference = Reference()
    account = Text(required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Transfer:
        return Transfer(**data)


class RetireSchema(Schema):
    """A retirement of an amount to the consumption of a metering point."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    gsrn = Text(required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Retire:
        return Retire(**data)


class ComposeRequest(Schema):
    """How to split a GGO. The rest of its amount stays with the caller."""

    address = Text(required=True)
    transfers = Items(fields.Nested(TransferSchema), most=MAX_PARTS, load_default=list)
    retires = Items(fields.Nested(RetireSchema), most=MAX_PARTS, load_default=list)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(Schema):
    """The compose is done."""

    success = fields.Boolean()
    message = fields.String(allow_none=True)
