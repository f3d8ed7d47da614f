"""Lists of version 2: pages by keyset, and their cursors (contract: v2, Conventions).

A cursor is the place where a page ended, signed together with the account, the path and the filters.
So it is worth nothing anywhere else.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import orjson
from flask import Response, request
from marshmallow import fields

from origin.errors import CursorInvalid
from origin.keys.sealing import Signer
from origin.web.described import described
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema

T = TypeVar("T")

KeyValue = datetime | UUID | int | str
"""A value of a column that a list is sorted by."""

_SIGNATURE_LENGTH = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_FILTERS = frozenset({"limit", "cursor"})


class ListResponse(Schema):
    """The base of the schemas of lists, which add `results`."""

    nextCursor = fields.String(  # noqa: N815 - the wire's name
        required=True,
        allow_none=True,
        metadata=described("Where the next page begins; null at the end"),
    )


@dataclass(frozen=True)
class Page:
    """The page of a list that a request asks for.

    :ivar limit: How many results it has at most. Fetch one row more: it shows whether others follow.
    :ivar after: The sort key of the row before the page; None for the first page.
    """

    limit: int
    after: tuple[KeyValue, ...] | None
    listing: bytes
    signer: Signer

    def response(
        self,
        rows: Sequence[T],
        key: Callable[[T], tuple[KeyValue, ...]],
        shown: Callable[[T], Any],
        *,
        has_more: bool = False,
    ) -> Response:
        """Return the list's response.

        :param rows: Up to `limit` + 1 rows that follow `after`, in the list's order.
        :param key: The sort key of a row. No two rows of a list have the same.
        :param shown: A row as the response shows it: JSON, or an `orjson.Fragment` of it.
        :param has_more: More rows follow these, although these are not more than `limit`.
        """
        page = rows[: self.limit]
        cursor = None
        if has_more or len(rows) > self.limit:
            cursor = write_cursor(key(page[-1]), self.listing, self.signer)
        return json_response({"results": [shown(each) for each in page], "nextCursor": cursor})


def page_of(account: str, query: Mapping[str, Any]) -> Page:
    """Return the page that the current request asks for.

    :param account: The caller's subject.
    :param query: As a `ListQuery` loads it: `limit`, `cursor` and the filters.
    :raises CursorInvalid: The cursor is not one of this account, path and filters, or was changed.
    """
    signer = provided(Signer)
    filters = {name: value for name, value in query.items() if name not in _NO_FILTERS}
    listing = listing_id(account, request.path, filters)
    cursor = query["cursor"]
    after = read_cursor(cursor, listing, signer) if cursor else None
    return Page(query["limit"], after, listing, signer)


def listing_id(account: str, path: str, filters: Mapping[str, Any]) -> bytes:
    """Return a hash of the list that a cursor belongs to.

    :param filters: As the schema loads them: how a client wrote a time makes no difference.
    """
    described_list = ["v2", account, path, filters]
    options = orjson.OPT_SORT_KEYS
    return sha256(orjson.dumps(described_list, default=_plain, option=options)).digest()


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    # Time zones, decimals.
    return str(value)


def write_cursor(after: Sequence[KeyValue], listing: bytes, signer: Signer) -> str:
    """Return the cursor behind the row with this sort key.

    :param listing: As `listing_id` returns it.
    """
    place = orjson.dumps([_written(each) for each in after])
    raw = signer.sign(listing + place) + place
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(text: str, listing: bytes, signer: Signer) -> tuple[KeyValue, ...]:
    """Return the sort key of the row before the page.

    :raises CursorInvalid: The cursor belongs to another list, was changed, or was signed with a secret
        that is not among KEY_ENCRYPTION_SECRETS.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise CursorInvalid from None
    signature, place = raw[:_SIGNATURE_LENGTH], raw[_SIGNATURE_LENGTH:]
    # Base64 has several texts for the same bytes; only the one that we write is accepted.
    is_ours = base64.urlsafe_b64encode(raw).decode().rstrip("=") == text
    if not is_ours or not signer.is_signed(listing + place, signature):
        raise CursorInvalid
    return tuple(_read(each) for each in orjson.loads(place))


def _written(value: KeyValue) -> Any:
    if isinstance(value, datetime):
        return ["t", (value - _EPOCH) // _MICROSECOND]
    if isinstance(value, UUID):
        return ["u", str(value)]
    return value


def _read(value: Any) -> KeyValue:
    if not isinstance(value, list):
        found: KeyValue = value
        return found
    kind, written = value
    return UUID(written) if kind == "u" else _EPOCH + written * _MICROSECOND
