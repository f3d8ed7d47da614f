"""Runs frequent statements directly through the driver, prepared.

SQLAlchemy takes longer to build and run a statement than PostgreSQL takes to answer it. PostgreSQL takes
longer to plan a short statement than to execute it.
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
"""Prepared statements per connection; each takes some kilobytes in the server."""

_ROWS_WITHOUT_A_PAUSE = 2000
"""How many rows the driver converts before other greenlets may run. It takes some 4 µs for each."""

_PARAMETER = re.compile(r"%\((\w+)\)s")
_PREPARED = "origin_prepared"
_STARTED = "origin_begun"
_STALE = frozenset({"26000", "42P05", "0A000"})
"""SQLSTATEs of stale prepared statements.

A pooler between us and the server has dropped or kept one, or a table has changed since planning.
"""

_OPEN_STATES = {TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR}

# The system's own poll: it never waits here, and gevent's would switch to other greenlets.
_poll = get_original("select", "poll")


@dataclass(frozen=True)
class Statement:
    """The PREPARE and EXECUTE forms of a statement, with parameters like `%(name)s`."""

    name: str
    prepare: str
    execute: str


@lru_cache(maxsize=1000)
def prepare(sql: str) -> Statement:
    """Return the PREPARE and EXECUTE forms of a statement with parameters like `%(name)s`."""
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    body = _PARAMETER.sub(lambda found: numbers[found[1]], sql)
    name = f"q{sha256(sql.encode()).hexdigest()[:16]}"
    given = ", ".join(f"%({each})s" for each in names)
    return Statement(
        name, f"PREPARE {name} AS {body}", f"EXECUTE {name}{f' ({given})' if names else ''}"
    )


class RawConnectionPool(QueuePool):
    """A pool that also lends connections without SQLAlchemy's wrapper around them."""

    _expired_at = float("-inf")

    @staticmethod
    def record_start(_connection: Any, entry: ConnectionPoolEntry) -> None:
        """Record when a connection was opened; a listener of SQLAlchemy's event `connect`."""
        entry.info[_STARTED] = time.monotonic()

    def expire_connections(self) -> None:
        """Mark all open connections for replacement; they may lead to a demoted primary."""
        self._expired_at = time.monotonic()

    def is_expired(self, entry: ConnectionPoolEntry) -> bool:
        """Return whether this connection was opened before the last `expire_connections`."""
        return bool(entry.info.get(_STARTED, 0.0) <= self._expired_at)

    def _create_connection(self) -> _ConnectionRecord:
        """Return a pool entry that connects at its first use.

        If it fails to connect, it returns to the pool and the next waiting caller gets it. With
        SQLAlchemy's own entry, which connects at once, a failure wakes no waiting caller.
        """
        return _ConnectionRecord(self, connect=False)

    def check_out(self) -> ConnectionPoolEntry:
        """Take a connection from the pool; replace it if it is visibly dead or expired.

        :raises TimeoutError: of SQLAlchemy; no connection became free in time.
        :raises psycopg2.Error: no connection to the server could be opened.
        """
        entry = self._do_get()
        try:
            connection = _driver_connection(entry)
            if connection is not None and (is_dead(connection) or self.is_expired(entry)):
                entry.invalidate()
            # Reconnects if necessary.
            entry.get_connection()  # type: ignore[attr-defined] # of all entries of a pool
        except BaseException:
            self._do_return_conn(entry)
            raise
        return entry

    def check_in(self, entry: ConnectionPoolEntry) -> None:
        """Return a connection to the pool. A closed one is replaced at its next checkout."""
        connection = _driver_connection(entry)
        if connection is not None and connection.closed:
            entry.invalidate()
        self._do_return_conn(entry)


def _driver_connection(entry: ConnectionPoolEntry) -> DriverConnection | None:
    return cast("DriverConnection | None", entry.driver_connection)


def _all_rows(cursor: Any) -> list[Row]:
    """Return all rows of a result, which the driver holds already."""
    found: list[Row] = cursor.fetchmany(_ROWS_WITHOUT_A_PAUSE)
    while len(found) < cursor.rowcount:
        time.sleep(0)
        found += cursor.fetchmany(_ROWS_WITHOUT_A_PAUSE)
    return found


def is_dead(connection: Any) -> bool:
    """Return whether an idle connection has ended.

    An idle connection only becomes readable when the server ends it. The check takes microseconds; a
    query would take a round trip.
    """
    if connection is None:
        return False
    if connection.closed:
        return True
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class RawConnection:
    """A lent connection of the driver. Statements commit one by one, or all in one transaction."""

    def __init__(self, entry: ConnectionPoolEntry, *, transaction: bool = False) -> None:
        connection = _driver_connection(entry)
        assert connection is not None
        self._connection = connection
        self._connection.autocommit = True
        self._prepared: set[str] = entry.info.setdefault(_PREPARED, set())
        self._before = "BEGIN; " if transaction else ""
        self._is_open = False

    def rows(self, sql: str, values: Values) -> Sequence[Row]:
        """Return the rows of a statement, which is planned for these values.

        :raises psycopg2.Error: it failed.
        """
        with self._connection.cursor() as cursor:
            return self._fetch(cursor, sql, values)

    def prepared(self, sql: str, values: Values) -> Sequence[Row]:
        """Return the rows of a prepared statement, whose plan is the same for all values.

        Each parameter's type must follow from the statement.

        :raises psycopg2.Error: it failed.
        """
        statement = prepare(sql)

        def run(cursor: Any) -> Sequence[Row]:
            self._prepare(cursor, [statement])
            return self._fetch(cursor, statement.execute, values)

        return self._retry_if_stale(run)

    def execute_together(self, *statements_and_values: tuple[str, Values]) -> Sequence[Row]:
        """Run prepared statements as one transaction in one round trip; return the rows of the last.

        Each statement sees the effects of those before it.

        :raises psycopg2.Error: one failed, and all were rolled back.
        """
        assert not self._before
        assert not self._is_open
        statements = [prepare(sql) for sql, _ in statements_and_values]

        def run(cursor: Any) -> Sequence[Row]:
            self._prepare(cursor, statements)
            parts = [
                cursor.mogrify(statement.execute, values)
                for statement, (_, values) in zip(statements, statements_and_values, strict=True)
            ]
            # PostgreSQL runs the statements of one message as one transaction.
            cursor.execute(b"; ".join(parts))
            found: Sequence[Row] = cursor.fetchall()
            return found

        return self._retry_if_stale(run)

    def _retry_if_stale(self, run: Callable[[Any], Sequence[Row]]) -> Sequence[Row]:
        """Call `run`, and call it again if prepared statements were stale.

        Within a transaction, the stale statement has made the transaction fail. Then close the
        connection instead: a new one has no stale statements.
        """
        with self._connection.cursor() as cursor:
            try:
                return run(cursor)
            except psycopg2.Error as error:
                if error.pgcode not in _STALE:
                    raise
                self._prepared.clear()
                if self._is_open:
                    self._connection.close()
                    raise
            cursor.execute("DEALLOCATE ALL")
            return run(cursor)

    def _prepare(self, cursor: Any, statements: Sequence[Statement]) -> None:
        """Prepare the missing ones of these statements. At `MAX_PREPARED`, drop all others first."""
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
            # BEGIN travels with the first statement, in one round trip.
            sql, self._before, self._is_open = self._before + sql, "", True
        cursor.execute(sql, values)
        return _all_rows(cursor) if cursor.description else []

    def end(self, *, commit: bool) -> None:
        """End the transaction, if there is one.

        :raises psycopg2.Error: the commit failed, or its outcome is unknown.
        """
        if not self._is_open:
            return
        self._is_open = False
        if commit:
            with self._connection.cursor() as cursor:
                cursor.execute("COMMIT")
                # The server answers COMMIT of a failed transaction with ROLLBACK.
                assert cursor.statusmessage == "COMMIT", cursor.statusmessage
        elif self._connection.info.transaction_status in _OPEN_STATES:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                # Not raised: the caller needs the earlier error.
                self._connection.close()

    def reset(self) -> None:
        """Reset the connection for its next user, or close it; this asks the server nothing."""
        if self._connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            # A statement was interrupted.
            self._connection.close()
        else:
            self._connection.autocommit = False
