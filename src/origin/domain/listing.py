"""The order of a listing, and cursors to go on from in it (contract: http-api, /ggo)."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import orjson

from origin.domain.filters import GgoFilters
from origin.errors import Refused

BEGIN, AMOUNT, ID = "begin", "amount", "id"
ORDERS = (BEGIN, f"-{BEGIN}", AMOUNT, f"-{AMOUNT}")
"""What a listing can be ordered by, by the wire's names."""

MAX_CURSOR_LENGTH = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIGGEST = 2**63 - 1

Value = datetime | int


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


def write_cursor(cursor: Cursor, filters: GgoFilters, keys: Sequence[Key]) -> str:
    """The cursor as a text, bound to the question that it is a place in."""
    values = [
        (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
        for value in cursor.values
    ]
    plain = orjson.dumps([_fingerprint(filters, keys), cursor.total, values])
    return base64.urlsafe_b64encode(plain).decode()


def read_cursor(text: str, filters: GgoFilters, keys: Sequence[Key]) -> Cursor:
    """The cursor that was written so.

    :raises Refused: it is none, or one of another question.
    """
    try:
        fingerprint, total, numbers = orjson.loads(base64.urlsafe_b64decode(text))
        whole = [_whole(number) for number in numbers]
        values: list[Value] = [
            _EPOCH + number * _MICROSECOND if key.column == BEGIN else number
            for key, number in zip(keys, whole, strict=True)
        ]
        cursor = Cursor(tuple(values), _whole(total))
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise Refused({"cursor": ["Not a valid cursor."]}) from None
    if fingerprint != _fingerprint(filters, keys):
        raise Refused({"cursor": ["A cursor of another filter or order."]})
    return cursor


def _whole(number: object) -> int:
    if type(number) is not int or abs(number) > _BIGGEST:
        raise ValueError
    return number


def _fingerprint(filters: GgoFilters, keys: Sequence[Key]) -> str:
    return sha256(orjson.dumps([filters, keys])).hexdigest()[:16]
