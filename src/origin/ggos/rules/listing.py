"""The order of a listing, and its cursors (contract: http-api.md, `/ggo`)."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

import orjson

from origin.errors import CursorInvalid
from origin.ggos.rules.filters import GgoFilters

BEGIN, AMOUNT, ID = "begin", "amount", "id"
ORDERS = (BEGIN, f"-{BEGIN}", AMOUNT, f"-{AMOUNT}")
"""The orders of a listing, by the wire's names."""

MAX_CURSOR_LENGTH = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
SIGNATURE_LENGTH = 32

SortValue = datetime | int
"""A value of a column to sort by."""


@dataclass(frozen=True)
class SortKey:
    """A column to sort by."""

    column: str
    descending: bool


@dataclass(frozen=True)
class Cursor:
    """Where a page ended: the last row's values of the sort keys, and the total of the first page."""

    values: tuple[SortValue, ...]
    total: int


def sort_keys(order: Sequence[str]) -> tuple[SortKey, ...]:
    """Return the keys of this order, followed by begin and id if it doesn't name them.

    The added keys go in the direction of the last named key, so that one index scan gives the order.
    If a column is named twice, the first name holds.
    """
    keys: dict[str, SortKey] = {}
    for name in order:
        column = name.removeprefix("-")
        keys.setdefault(column, SortKey(column, descending=name.startswith("-")))
    descending = list(keys.values())[-1].descending if keys else False
    for column in (BEGIN, ID):
        keys.setdefault(column, SortKey(column, descending))
    return tuple(keys.values())


class Signer(Protocol):
    """Signs cursors, so that a client can't make or alter one."""

    def sign(self, text: bytes) -> bytes:
        """Return the text's signature of `SIGNATURE_LENGTH` bytes."""

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Return whether this is the text's signature."""


@dataclass(frozen=True)
class Listing:
    """The listing that a cursor belongs to: whose it is, its filters and its order."""

    subject: str
    filters: GgoFilters
    keys: tuple[SortKey, ...]

    def signed_text(self, place: bytes) -> bytes:
        """Return the text to sign: the cursor's place together with the listing."""
        return sha256(orjson.dumps([self.subject, self.filters, self.keys])).digest() + place


def write_cursor(cursor: Cursor, listing: Listing, signer: Signer) -> str:
    """Return the cursor as a text that is valid for this listing only."""
    values = [
        (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
        for value in cursor.values
    ]
    place = orjson.dumps([cursor.total, values])
    return _text(signer.sign(listing.signed_text(place)) + place)


def read_cursor(text: str, listing: Listing, signer: Signer) -> Cursor:
    """Return the cursor of this text.

    :raises CursorInvalid: It is not one of this listing, or was altered.
    """
    try:
        raw = base64.urlsafe_b64decode(text)
    except ValueError:
        raise CursorInvalid from None
    signature, place = raw[:SIGNATURE_LENGTH], raw[SIGNATURE_LENGTH:]
    # Base64 has several texts for the same bytes; only the one that we write is accepted.
    if _text(raw) != text or not signer.is_signed(listing.signed_text(place), signature):
        raise CursorInvalid
    total, numbers = orjson.loads(place)
    values: list[SortValue] = [
        _EPOCH + number * _MICROSECOND if key.column == BEGIN else number
        for key, number in zip(listing.keys, numbers, strict=True)
    ]
    return Cursor(tuple(values), total)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()
