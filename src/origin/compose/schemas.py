"""The request and answer of a compose (contract: http-api.md, `POST /ggo/compose`)."""

from typing import Any

from marshmallow import fields, post_load

from origin.compose.rules import Order, Retire, Transfer
from origin.web.base import Schema
from origin.web.collections import Items
from origin.web.fields import Reference, Text, WholeNumber

MAX_PARTS = 1_000
"""Transfers in one compose, and retires: more would hold up a worker and the ledger for seconds."""


class TransferSchema(Schema):
    """So much to that account."""

    amount = WholeNumber(least=1, required=True, metadata={"description": "Wh"})
    reference = Reference()
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
    transfers = Items(fields.Nested(TransferSchema), most=MAX_PARTS, load_default=list)
    retires = Items(fields.Nested(RetireSchema), most=MAX_PARTS, load_default=list)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(Schema):
    """It is done."""

    success = fields.Boolean()
    message = fields.String(allow_none=True)
