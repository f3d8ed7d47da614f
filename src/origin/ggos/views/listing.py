"""The answer of `/ggo`: a small one at once, a large one as a stream (contract: http-api.md, `/ggo`)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from flask import Response

from origin.db.engine import Database
from origin.ggos.queries import ggos as queries
from origin.ggos.rules.listing import Cursor, Listing, Signer, SortValue, write_cursor

MAX_AT_ONCE = 10_000
"""The most GGOs in an answer that is made in memory (3.5 MB). More are streamed."""
_GGOS_PER_CHUNK = 1_000
"""GGOs in a chunk of a stream."""

_NO_LIMIT = 2**62


@dataclass(frozen=True)
class ListingQuery:
    """Which GGOs to list, and which page of them."""

    conditions: queries.Conditions
    listing: Listing
    """The listing that a cursor is bound to."""
    signer: Signer
    offset: int
    limit: int | None
    after: Cursor | None
    paged: bool
    """Whether pages are read by cursors: the answer then has the next page's cursor."""


def listing_response(database: Database, query: ListingQuery) -> Response:
    """Return the answer with the GGOs in the requested order and the total.

    A stream reads one snapshot of the database, so that its total and rows fit together.
    """
    if not query.paged:
        return _page(database, query) or _streamed(database, query)
    if query.limit is not None and query.limit <= MAX_AT_ONCE:
        return _cursor_page(database, query, query.limit)
    return _streamed(database, query)


def _page(database: Database, query: ListingQuery) -> Response | None:
    """Return the whole answer; None if it has more than `MAX_AT_ONCE` GGOs."""
    limit = None if query.limit is None else min(query.limit, _NO_LIMIT)
    asked = queries.page(
        query.conditions,
        query.listing.keys,
        offset=query.offset,
        limit=limit,
        at_most=MAX_AT_ONCE,
    )
    total, results = queries.fetch_row(database, query.conditions, asked)
    if results is None and query.offset < total:
        return None
    return _json(b'{"success":true,"total":%d,"results":%s}' % (total, _array(results)))


def _cursor_page(database: Database, query: ListingQuery, limit: int) -> Response:
    asked = queries.cursor_page(
        query.conditions,
        query.listing.keys,
        limit=limit,
        after=query.after,
    )
    total, results, is_more, *last = queries.fetch_row(database, query.conditions, asked)
    if query.after is not None:
        total = query.after.total
    next_cursor = _cursor(query, last, total) if is_more else None
    return _json(
        b'{"success":true,"total":%d,"results":%s,"nextCursor":%s}'
        % (total, _array(results), orjson.dumps(next_cursor))
    )


def _array(results: str | None) -> bytes:
    return (results or "[]").encode()


def _cursor(query: ListingQuery, values: Sequence[SortValue], total: int) -> str:
    return write_cursor(Cursor(tuple(values), total), query.listing, query.signer)


def _streamed(database: Database, query: ListingQuery) -> Response:
    limit = None if query.limit is None else min(query.limit, _NO_LIMIT) + 1
    with ExitStack() as stack:
        connection = stack.enter_context(database.snapshot())
        if query.after is not None:
            total = query.after.total
        else:
            total = queries.count(connection, query.conditions)
        rows = queries.listing(
            connection,
            query.conditions,
            query.listing.keys,
            offset=query.offset,
            limit=limit,
            after=query.after,
            with_keys=query.paged,
            rows_at_once=_GGOS_PER_CHUNK,
        )
        held = stack.pop_all()

    def chunks() -> Iterator[bytes]:
        with held:
            yield from _body(query, total, rows)

    response = _json(chunks())
    # A generator that is never started runs no `with` block to its end.
    response.call_on_close(held.close)
    return response


def _json(body: bytes | Iterable[bytes]) -> Response:
    return Response(body, mimetype="application/json")


def _body(query: ListingQuery, total: int, found: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Yield the body in chunks.

    :param found: The rows. With a limit there may be one row more, which shows that more follow.
    """
    yield b'{"success":true,"total":%d,"results":[' % total
    rows = iter(found)
    page = islice(rows, query.limit)
    separator, last = b"", None
    while chunk := list(islice(page, _GGOS_PER_CHUNK)):
        yield separator + ",".join([row[0] for row in chunk]).encode()
        separator, last = b",", chunk[-1]
    yield b"]"
    if query.paged:
        next_cursor = None
        if last is not None and next(rows, None) is not None:
            next_cursor = _cursor(query, last[1:], total)
        yield b',"nextCursor":' + orjson.dumps(next_cursor)
    yield b"}"
