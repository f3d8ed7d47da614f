"""The order of a listing, and cursors to go on from in it (contract: http-api, /ggo)."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

import orjson

from origin.errors import Rejected
from origin.ggos.rules.filters import GgoFilters

BEGIN, AMOUNT, ID = "begin", "amount", "id"
ORDERS = (BEGIN, f"-{BEGIN}", AMOUNT, f"-{AMOUNT}")
"""What a listing can be ordered by, by the wire's names."""

MAX_CURSOR_LENGTH = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
SIGNATURE_LENGTH = 32

Value = datetime | int


class CursorInvalid(Rejected):
    """The cursor was altered, or belongs to another account, other filters or another order."""

    code = "invalid_cursor"


@dataclass(frozen=True)
class Key:
    """One column to sort by."""

    column: str
    descending: bool


@dataclass(frozen=True)
class Cursor:
    """Where a page ended: the keys' values in its last row, and the total when paging began."""

    values: tuple[Value, ...]
    total: int


def sort_keys(order: Sequence[str]) -> tuple[Key, ...]:
    """The keys of this order, made whole: then by begin, then by id.

    What is added goes in the direction of the last key named, so that one walk through an index
    answers. Of a column named twice the first holds.
    """
    keys: dict[str, Key] = {}
    for name in order:
        column = name.removeprefix("-")
        keys.setdefault(column, Key(column, descending=name.startswith("-")))
    descending = list(keys.values())[-1].descending if keys else False
    for column in (BEGIN, ID):
        keys.setdefault(column, Key(column, descending))
    return tuple(keys.values())


class Signer(Protocol):
    """Signs texts, so that what comes back is known to be our own."""

    def sign(self, text: bytes) -> bytes:
        """The text's signature, SIGNATURE_LENGTH bytes."""

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Whether it is this text's."""


@dataclass(frozen=True)
class Listing:
    """What a cursor is a place in, and belongs to."""

    subject: str
    filters: GgoFilters
    keys: tuple[Key, ...]

    def text_of(self, place: bytes) -> bytes:
        """What is signed: the place, and all that it belongs to."""
        return sha256(orjson.dumps([self.subject, self.filters, self.keys])).digest() + place


def write_cursor(cursor: Cursor, listing: Listing, signer: Signer) -> str:
    """The cursor as a text, which no other listing takes."""
    values = [
        (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
        for value in cursor.values
    ]
    place = orjson.dumps([cursor.total, values])
    return _text(signer.sign(listing.text_of(place)) + place)


def read_cursor(text: str, listing: Listing, signer: Signer) -> Cursor:
    """The cursor that was written so.

    :raises CursorInvalid: It is not one of this listing, or was altered.
    """
    try:
        raw = base64.urlsafe_b64decode(text)
    except ValueError:
        raise CursorInvalid from None
    signature, place = raw[:SIGNATURE_LENGTH], raw[SIGNATURE_LENGTH:]
    # Base64 has several texts for the same bytes; ours is one of them.
    if _text(raw) != text or not signer.is_signed(listing.text_of(place), signature):
        raise CursorInvalid
    total, numbers = orjson.loads(place)
    values: list[Value] = [
        _EPOCH + number * _MICROSECOND if key.column == BEGIN else number
        for key, number in zip(listing.keys, numbers, strict=True)
    ]
    return Cursor(tuple(values), total)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()
