"""The request and answer of a compose (contract: http-api.md, `POST /ggo/compose`)."""

from typing import Any

from marshmallow import fields, post_load

from origin.compose.rules import Order, Retire, Transfer
from origin.web.collections import Items
from origin.web.described import ADDRESS, AMOUNT, GSRN, RECIPIENT, REFERENCE, described
from origin.web.fields import Reference, Text, WholeNumber
from origin.web.schema import Schema, SuccessResponse

MAX_PARTS = 1_000
"""Transfers in one compose, and retires: more would hold up a worker and the ledger for seconds."""


class TransferSchema(Schema):
    """So much to that account."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    reference = Reference(metadata=REFERENCE)
    account = Text(required=True, metadata=RECIPIENT)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Transfer:
        return Transfer(**data)


class RetireSchema(Schema):
    """So much to the consumption of that metering point."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    gsrn = Text(required=True, metadata=GSRN)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Retire:
        return Retire(**data)


class ComposeRequest(Schema):
    """What is to become of a GGO; what isn't named stays with the caller."""

    address = Text(required=True, metadata=ADDRESS)
    transfers = Items(
        fields.Nested(TransferSchema),
        most=MAX_PARTS,
        load_default=list,
        metadata=described("What is given to other accounts"),
    )
    retires = Items(
        fields.Nested(RetireSchema),
        most=MAX_PARTS,
        load_default=list,
        metadata=described("What is retired to the caller's own consumption"),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Order:
        return Order(**data)


class DoneResponse(SuccessResponse):
    """It is done."""

    message = fields.String(
        allow_none=True, metadata=described("Why not: a sentence, or messages by field")
    )
