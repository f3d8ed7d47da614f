"""The answer to /ggo: a small one at once, a large one as a stream (contract: http-api, /ggo)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from flask import Response

from origin.db.engine import Database
from origin.db.raw_connections import Row
from origin.ggos.queries import ggos as queries
from origin.ggos.rules.listing import Cursor, Listing, Signer, Value, write_cursor
from origin.identity.authentication import current_user, make_sure_active

MAX_AT_ONCE = 10_000
"""GGOs in an answer that is made in memory: some 3.5 MB."""
_PART = 1_000
"""GGOs in a part of a stream."""

_NO_LIMIT = 2**62


@dataclass(frozen=True)
class Question:
    """Which GGOs, and which page of them."""

    conditions: queries.Conditions
    listing: Listing
    """What a cursor is bound to."""
    signer: Signer
    offset: int
    limit: int | None
    after: Cursor | None
    paged: bool
    """By cursors: the answer says where the next page begins."""


def listing_response(database: Database, question: Question) -> Response:
    """The GGOs in the order asked for, and the total, in a view that `looks`.

    What is too much for memory comes from one snapshot of the database, so that it adds up.
    """
    if not question.paged:
        return _page(database, question) or _streamed(database, question)
    if question.limit is not None and question.limit <= MAX_AT_ONCE:
        return _cursor_page(database, question, question.limit)
    # Before a connection is taken for as long as the reader takes.
    make_sure_active()
    return _streamed(database, question)


def _page(database: Database, question: Question) -> Response | None:
    """The whole answer; None where that is too much."""
    limit = None if question.limit is None else min(question.limit, _NO_LIMIT)
    asked = queries.page(
        _caller(),
        question.conditions,
        question.listing.keys,
        offset=question.offset,
        limit=limit,
        at_most=MAX_AT_ONCE,
    )
    is_active, total, results = _ask(database, question, asked)
    current_user().found_active(is_active)
    if results is None and question.offset < total:
        return None
    return _json(b'{"success":true,"total":%d,"results":%s}' % (total, _array(results)))


def _cursor_page(database: Database, question: Question, limit: int) -> Response:
    asked = queries.cursor_page(
        _caller(),
        question.conditions,
        question.listing.keys,
        limit=limit,
        after=question.after,
    )
    is_active, total, results, is_more, *last = _ask(database, question, asked)
    current_user().found_active(is_active)
    if question.after is not None:
        total = question.after.total
    following = _cursor(question, last, total) if is_more else None
    return _json(
        b'{"success":true,"total":%d,"results":%s,"nextCursor":%s}'
        % (total, _array(results), orjson.dumps(following))
    )


def _ask(database: Database, question: Question, asked: queries.Query) -> Row:
    """The one row that this query gives."""
    ask = database.prepared if question.conditions.is_plain else database.query
    return ask(asked.sql, asked.values)[0]


def _caller() -> queries.Caller:
    user = current_user()
    return queries.Caller(user.id, user.subject)


def _array(results: str | None) -> bytes:
    return (results or "[]").encode()


def _cursor(question: Question, values: Sequence[Value], total: int) -> str:
    return write_cursor(Cursor(tuple(values), total), question.listing, question.signer)


def _streamed(database: Database, question: Question) -> Response:
    limit = None if question.limit is None else min(question.limit, _NO_LIMIT) + 1
    found, counted = _listing(question, limit), queries.count(question.conditions)
    with ExitStack() as stack:
        connection = stack.enter_context(database.snapshot())
        if question.after is not None:
            total = question.after.total
        else:
            total = connection.exec_driver_sql(counted.sql, counted.values).scalar_one()
        rows = connection.exec_driver_sql(
            found.sql, found.values, execution_options={"yield_per": _PART}
        )
        kept = stack.pop_all()

    def parts() -> Iterator[bytes]:
        with kept:
            yield from _body(question, total, rows)

    response = _json(parts())
    # Where nobody reads it, the generator never begins and so doesn't end.
    response.call_on_close(kept.close)
    return response


def _json(body: bytes | Iterable[bytes]) -> Response:
    return Response(body, mimetype="application/json")


def _listing(question: Question, limit: int | None) -> queries.Query:
    return queries.listing(
        question.conditions,
        question.listing.keys,
        offset=question.offset,
        limit=limit,
        after=question.after,
        with_keys=question.paged,
    )


def _body(question: Question, total: int, found: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """The answer in parts.

    :param found: One row more than the limit, where there is one: it tells that more follow.
    """
    yield b'{"success":true,"total":%d,"results":[' % total
    rows = iter(found)
    page = islice(rows, question.limit)
    separator, last = b"", None
    while part := list(islice(page, _PART)):
        yield separator + ",".join([row[0] for row in part]).encode()
        separator, last = b",", part[-1]
    yield b"]"
    if question.paged:
        following = None
        if last is not None and next(rows, None) is not None:
            following = _cursor(question, last[1:], total)
        yield b',"nextCursor":' + orjson.dumps(following)
    yield b"}"
