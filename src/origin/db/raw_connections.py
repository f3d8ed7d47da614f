"""Statements by the driver itself, prepared, for what is asked most.

SQLAlchemy takes longer to build and run a statement than PostgreSQL takes to answer it, and PostgreSQL
longer to plan a short one than to carry it out.
"""

import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

import psycopg2
from gevent.monkey import get_original
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
)
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from sqlalchemy import QueuePool
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.pool.base import _ConnectionRecord

Row = tuple[Any, ...]
Values = Mapping[str, Any]

MAX_PREPARED = 200
"""Statements that a connection keeps prepared: each costs the server some kilobytes."""

_PLACE = re.compile(r"%\((\w+)\)s")
_PREPARED = "origin_prepared"
_STARTED = "origin_begun"
_STALE = frozenset({"26000", "42P05", "0A000"})
"""SQLSTATEs of prepared statements that aren't what we take them for.

One is gone, or there already, as something between us and the server dropped or kept it; or the
table has changed since it was planned.
"""

_OPEN_STATES = {TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR}

# The system's own: gevent's would let others go first, and this never waits.
_poll = get_original("select", "poll")


@dataclass(frozen=True)
class Statement:
    """A statement with places for values (`%(name)s`), as it is prepared and then executed."""

    name: str
    prepare: str
    execute: str


@lru_cache(maxsize=1000)
def prepare(sql: str) -> Statement:
    """How to prepare and execute a statement in the driver's form (`%(name)s`)."""
    names = list(dict.fromkeys(_PLACE.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    body = _PLACE.sub(lambda found: numbers[found[1]], sql)
    name = f"q{sha256(sql.encode()).hexdigest()[:16]}"
    given = ", ".join(f"%({each})s" for each in names)
    return Statement(
        name, f"PREPARE {name} AS {body}", f"EXECUTE {name}{f' ({given})' if names else ''}"
    )


class RawConnectionPool(QueuePool):
    """A pool that also lends its connections bare, without what SQLAlchemy keeps about them."""

    _expired_at = float("-inf")

    @staticmethod
    def record_start(_connection: Any, entry: ConnectionPoolEntry) -> None:
        """Note when a connection began; a listener of SQLAlchemy's event `connect`."""
        entry.info[_STARTED] = time.monotonic()

    def expire_connections(self) -> None:
        """Have all connections replaced that there are: they may lead to a demoted primary."""
        self._expired_at = time.monotonic()

    def is_expired(self, entry: ConnectionPoolEntry) -> bool:
        """Whether this connection began before the last `distrust`."""
        return bool(entry.info.get(_STARTED, 0.0) <= self._expired_at)

    def _create_connection(self) -> _ConnectionRecord:
        """A place that connects when it is first used.

        A place that fails to connect goes back to the pool then, and to the next that waits for one.
        The pool's own would leave no place, and tell nobody: all who wait would wait in vain.
        """
        return _ConnectionRecord(self, connect=False)

    def check_out(self) -> ConnectionPoolEntry:
        """A connection to be given back, alive as far as can be told without asking it.

        :raises TimeoutError: of SQLAlchemy: none became free in time.
        :raises psycopg2.Error: the server can't be connected to.
        """
        entry = self._do_get()
        try:
            connection = _driver_connection(entry)
            if connection is not None and (is_dead(connection) or self.is_expired(entry)):
                entry.invalidate()
            # Connects anew where it must.
            entry.get_connection()  # type: ignore[attr-defined] # of all entries of a pool
        except BaseException:
            self._do_return_conn(entry)
            raise
        return entry

    def check_in(self, entry: ConnectionPoolEntry) -> None:
        """Give back what was taken; a broken one is replaced when it is next wanted."""
        connection = _driver_connection(entry)
        if connection is not None and connection.closed:
            entry.invalidate()
        self._do_return_conn(entry)


def _driver_connection(entry: ConnectionPoolEntry) -> DriverConnection | None:
    return cast("DriverConnection | None", entry.driver_connection)


def is_dead(connection: Any) -> bool:
    """Whether an idle connection has ended: its server says nothing else unasked.

    Microseconds, where a question to the server would be a round trip.
    """
    if connection is None:
        return False
    if connection.closed:
        return True
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class RawConnection:
    """A connection that is lent: each statement by itself, or all in one transaction."""

    def __init__(self, entry: ConnectionPoolEntry, *, transaction: bool = False) -> None:
        connection = _driver_connection(entry)
        assert connection is not None
        self._connection = connection
        self._connection.autocommit = True
        self._prepared: set[str] = entry.info.setdefault(_PREPARED, set())
        self._before = "BEGIN; " if transaction else ""
        self._is_open = False

    def rows(self, sql: str, values: Values) -> Sequence[Row]:
        """The rows of a statement; it is planned for these values.

        :raises psycopg2.Error: it failed.
        """
        with self._connection.cursor() as cursor:
            return self._fetch(cursor, sql, values)

    def prepared(self, sql: str, values: Values) -> Sequence[Row]:
        """The rows of a statement whose plan is the same for all values.

        Each place's type must follow from the statement.

        :raises psycopg2.Error: it failed.
        """
        statement = prepare(sql)

        def ask(cursor: Any) -> Sequence[Row]:
            self._prepare(cursor, [statement])
            return self._fetch(cursor, statement.execute, values)

        return self._retry_if_stale(ask)

    def execute_together(self, *asked: tuple[str, Values]) -> Sequence[Row]:
        """Carry out statements as one transaction, in one round trip; the rows of the last.

        Each sees what those before it have done, and is prepared.

        :raises psycopg2.Error: one failed, and so all did.
        """
        assert not self._before
        assert not self._is_open
        statements = [prepare(sql) for sql, _ in asked]

        def ask(cursor: Any) -> Sequence[Row]:
            self._prepare(cursor, statements)
            parts = [
                cursor.mogrify(statement.execute, values)
                for statement, (_, values) in zip(statements, asked, strict=True)
            ]
            # What comes as one message, and begins no transaction of its own, is one.
            cursor.execute(b"; ".join(parts))
            found: Sequence[Row] = cursor.fetchall()
            return found

        return self._retry_if_stale(ask)

    def _retry_if_stale(self, ask: Callable[[Any], Sequence[Row]]) -> Sequence[Row]:
        """Ask; once more where prepared statements were stale, and nothing has been done.

        Within a transaction, which is lost, the connection is closed: the next finds all in order.
        """
        with self._connection.cursor() as cursor:
            try:
                return ask(cursor)
            except psycopg2.Error as error:
                if error.pgcode not in _STALE:
                    raise
                self._prepared.clear()
                if self._is_open:
                    self._connection.close()
                    raise
            cursor.execute("DEALLOCATE ALL")
            return ask(cursor)

    def _prepare(self, cursor: Any, statements: Sequence[Statement]) -> None:
        """Have all of these prepared; they may push out all others, not one another."""
        missing = [each for each in statements if each.name not in self._prepared]
        if missing and len(self._prepared) + len(missing) > MAX_PREPARED:
            cursor.execute("DEALLOCATE ALL")
            self._prepared.clear()
            missing = list(statements)
        for each in missing:
            cursor.execute(each.prepare)
            self._prepared.add(each.name)

    def _fetch(self, cursor: Any, sql: str, values: Values) -> Sequence[Row]:
        if self._before:
            # In one round trip with what it begins with.
            sql, self._before, self._is_open = self._before + sql, "", True
        cursor.execute(sql, values)
        found: Sequence[Row] = cursor.fetchall() if cursor.description else []
        return found

    def end(self, *, commit: bool) -> None:
        """End the transaction, if one has begun.

        :raises psycopg2.Error: it could not be committed, or nobody knows.
        """
        if not self._is_open:
            return
        self._is_open = False
        if commit:
            with self._connection.cursor() as cursor:
                cursor.execute("COMMIT")
                # Of a transaction in which something has failed, the server makes a ROLLBACK.
                assert cursor.statusmessage == "COMMIT", cursor.statusmessage
        elif self._connection.info.transaction_status in _OPEN_STATES:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                # What has failed before is what the caller must hear of.
                self._connection.close()

    def reset(self) -> None:
        """Leave the connection as its next user expects it; close it where that can't be.

        The driver does so without a word to the server.
        """
        if self._connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            # Broken off in the midst of a statement.
            self._connection.close()
        else:
            self._connection.autocommit = False
