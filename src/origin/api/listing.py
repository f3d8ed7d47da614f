"""The answer to /ggo: a small one at once, a large one as a stream (contract: http-api, /ggo)."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from flask import Response

from origin.db import ggos as queries
from origin.db.engine import Database
from origin.domain.filters import GgoFilters
from origin.domain.listing import Cursor, Key, write_cursor

MAX_AT_ONCE = 1_000
"""GGOs in an answer that is made in memory, and in a part of a stream: some 350 kB."""

_NO_LIMIT = 2**62


@dataclass(frozen=True)
class Question:
    """Which GGOs, and which page of them."""

    conditions: queries.Conditions
    filters: GgoFilters
    """As the request has them; a cursor is bound to them."""
    keys: tuple[Key, ...]
    offset: int
    limit: int | None
    after: Cursor | None
    paged: bool
    """By cursors: the answer says where the next page begins."""


def listing_response(database: Database, question: Question) -> Response:
    """The GGOs in the order asked for, and the total.

    What is too much for memory comes from one snapshot of the database, so that it adds up.
    """
    if question.limit is not None and question.limit <= MAX_AT_ONCE and not question.paged:
        return _page(database, question, question.limit)
    at_once = min(question.limit or MAX_AT_ONCE, MAX_AT_ONCE)
    found = _listing(question, at_once + 1)
    rows = database.query(found.sql, found.values)
    ended = len(rows) <= at_once
    if not ended and question.limit != at_once:
        return _streamed(database, question)
    if question.after is not None:
        total = question.after.total
    elif ended and (rows or not question.offset):
        total = question.offset + len(rows)
    else:
        counted = queries.count(question.conditions)
        total = database.query(counted.sql, counted.values)[0][0]
    return _json(b"".join(_body(question, total, rows)))


def _page(database: Database, question: Question, limit: int) -> Response:
    asked = queries.page(question.conditions, question.keys, offset=question.offset, limit=limit)
    total, results = database.query(asked.sql, asked.values)[0]
    return _json(b'{"success":true,"total":%d,"results":[%s]}' % (total, (results or "").encode()))


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
            found.sql, found.values, execution_options={"yield_per": MAX_AT_ONCE}
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
        question.keys,
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
    while part := list(islice(page, MAX_AT_ONCE)):
        yield separator + ",".join([row[0] for row in part]).encode()
        separator, last = b",", part[-1]
    yield b"]"
    if question.paged:
        following = None
        if last is not None and next(rows, None) is not None:
            cursor = Cursor(tuple(last)[1:], total)
            following = write_cursor(cursor, question.filters, question.keys)
        yield b',"nextCursor":' + orjson.dumps(following)
    yield b"}"
