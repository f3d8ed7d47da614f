"""The answer to /ggo: a small one at once, a large one as a stream (contract: http-api, /ggo)."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson
from flask import Response
from sqlalchemy import Row
from sqlalchemy.orm import Session

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

    owner_id: int
    filters: GgoFilters
    now: datetime
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
    at_once = min(question.limit or MAX_AT_ONCE, MAX_AT_ONCE)
    with database.reading() as session:
        rows = list(_rows(session, question, at_once + 1))
        if len(rows) <= at_once or question.limit == at_once:
            total = _total(session, question, rows, ended=len(rows) <= at_once)
            return _json(b"".join(_body(question, total, rows)))
    return _streamed(database, question)


def _streamed(database: Database, question: Question) -> Response:
    with ExitStack() as stack:
        session = stack.enter_context(database.snapshot())
        total = _total(session, question, (), ended=False)
        limit = None if question.limit is None else min(question.limit, _NO_LIMIT) + 1
        rows = _rows(session, question, limit, fetched_at_once=MAX_AT_ONCE)
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


def _rows(
    session: Session, question: Question, limit: int | None, fetched_at_once: int | None = None
) -> Iterator[Row[Any]]:
    return queries.list_settled(
        session,
        question.owner_id,
        question.filters,
        question.now,
        keys=question.keys,
        offset=question.offset,
        limit=limit,
        after=question.after,
        fetched_at_once=fetched_at_once,
    )


def _total(
    session: Session, question: Question, rows: list[Row[Any]] | tuple[()], *, ended: bool
) -> int:
    """How many match in all; counted only where it can't be told otherwise.

    :param ended: The rows are the last ones.
    """
    if question.after is not None:
        return question.after.total
    if ended and (rows or not question.offset):
        return question.offset + len(rows)
    return queries.count_settled(session, question.owner_id, question.filters, question.now)


def _body(question: Question, total: int, found: Iterable[Row[Any]]) -> Iterator[bytes]:
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
            cursor = Cursor(tuple(last[1:]), total)
            following = write_cursor(cursor, question.filters, question.keys)
        yield b',"nextCursor":' + orjson.dumps(following)
    yield b"}"
