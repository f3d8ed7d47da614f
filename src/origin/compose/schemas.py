"""The request and answer of a compose (contract: http-api.md, `POST /ggo/compose`)."""

from typing import Any

from marshmallow import fields, post_load

from origin.compose.rules import Order, Retire, Transfer
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    AMOUNT,
    CONSUMPTION_GSRN,
    RECIPIENT,
    REFERENCE,
    described,
)
from origin.web.fields import Reference, Text, WholeNumber
from origin.web.schema import Schema, SuccessResponse

MAX_PARTS = 1_000
"""The most transfers of a compose, and the most retires: more would block the ledger for seconds."""


class TransferSchema(Schema):
    """A transfer of an amount to an account."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    reference = Reference(metadata=REFERENCE)
    account = Text(required=True, metadata=RECIPIENT)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Transfer:
        return Transfer(**data)


class RetireSchema(Schema):
    """A retirement of an amount to the consumption of a metering point."""

    amount = WholeNumber(least=1, required=True, metadata=AMOUNT)
    gsrn = Text(required=True, metadata=CONSUMPTION_GSRN)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Retire:
        return Retire(**data)


class ComposeRequest(Schema):
    """How to split a GGO. The rest of its amount stays with the caller."""

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
    """The compose is done."""

    message = fields.String(
        allow_none=True, metadata=described("null; in errors a sentence, or messages by field")
    )
