"""Sessions, transactions and raw connections. All access to PostgreSQL goes through `Database`."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import psycopg2
from sqlalchemy import Connection, NullPool, event, text
from sqlalchemy.engine import URL, Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from origin.db.connector import make_engine
from origin.db.raw_connections import RawConnection, RawConnectionPool, Row, Values, is_dead
from origin.db.session_settings import SERVICE_TIMEOUTS
from origin.db.sqlstates import READ_ONLY, state_of

POOL_TIMEOUT_S = 10
"""Seconds to wait for a free connection; then the request fails with 503."""

_STALLED = "60s"
"""PostgreSQL ends a snapshot whose reader has been idle this long."""


def _reset_isolation_level(connection: Any) -> None:
    """Reset a connection's isolation level, or close the connection if it is dead.

    Unlike SQLAlchemy's dialect this asks the server nothing, so it can't fail. An error here would
    reach the request as the driver's, and the connection's place in the pool would be lost.
    """
    try:
        connection.set_session(isolation_level="DEFAULT", autocommit=False)
    except psycopg2.Error:
        connection.close()


def _replace_broken_connections(engine: Engine) -> None:
    """Let the pool replace connections that are dead or lead to a read-only server.

    The replacement happens at checkout, so callers don't notice it.
    """

    def checked_out(connection: Any, entry: ConnectionPoolEntry, *_: Any) -> None:
        if is_dead(connection) or _pool_of(engine).is_expired(entry):
            raise DisconnectionError

    def failed(context: ExceptionContext) -> None:
        if state_of(context.original_exception) == READ_ONLY:
            _pool_of(engine).expire_connections()

    engine.dialect.reset_isolation_level = _reset_isolation_level  # type: ignore[method-assign, assignment] # no hook exists
    event.listen(engine, "connect", RawConnectionPool.record_start)
    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "handle_error", failed)


def _pool_of(engine: Engine) -> RawConnectionPool:
    # Not stored anywhere, because `dispose` replaces the pool.
    return cast("RawConnectionPool", engine.pool)


class ReadOnly(Exception):
    """The server is a standby, or operators have made it read-only."""


class Database:
    """A pool of connections, which are opened at their first use.

    Never call a peer while a session or a raw connection is open: connections are few.
    """

    def __init__(self, url: URL, pool_size: int) -> None:
        self.engine = make_engine(
            url,
            SERVICE_TIMEOUTS,
            poolclass=RawConnectionPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_use_lifo=True,
        )
        self._prober = make_engine(
            url, SERVICE_TIMEOUTS, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        _replace_broken_connections(self.engine)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ")
        # Slow readers of snapshots must not occupy all connections.
        self._free_snapshots = threading.BoundedSemaphore(max(1, pool_size // 2))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session with one transaction. It commits at the end of the block; exceptions roll it back."""
        # No session uses its objects again after a bulk UPDATE or DELETE, so they need no update.
        with (
            Session(
                self.engine,
                expire_on_commit=False,
                execution_options={"synchronize_session": False},
            ) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session for reading without a transaction, which saves two round trips.

        Each statement sees the database as of its own start.
        """
        with Session(self._autocommit) as session:
            yield session

    @contextmanager
    def raw_connection(self, *, transaction: bool = False) -> Iterator[RawConnection]:
        """Lend a raw connection, for frequent statements (see `origin.db.raw_connections`).

        :param transaction: Run all statements in one transaction, which commits at the end of the
            block and which exceptions roll back. Otherwise each statement commits by itself.
        :raises DBAPIError: of SQLAlchemy, like a session.
        """
        entry = None
        pool = _pool_of(self.engine)
        try:
            entry = pool.check_out()
            raw = RawConnection(entry, transaction=transaction)
            try:
                yield raw
                raw.end(commit=True)
            except BaseException:
                raw.end(commit=False)
                raise
            finally:
                raw.reset()
        except psycopg2.Error as error:
            if state_of(error) == READ_ONLY:
                pool.expire_connections()
            connection: Any = None if entry is None else entry.driver_connection
            raise DBAPIError.instance(
                None,
                None,
                error,
                psycopg2.Error,
                hide_parameters=True,
                connection_invalidated=bool(connection is None or connection.closed),
            ) from error
        finally:
            if entry is not None:
                pool.check_in(entry)

    def query(self, sql: str, values: Values) -> Sequence[Row]:
        """Return the rows of one statement in the driver's form (`%(name)s`), planned for these values.

        :raises DBAPIError: of SQLAlchemy, like a session.
        """
        with self.raw_connection() as raw:
            return raw.rows(sql, values)

    def prepared(self, sql: str, values: Values) -> Sequence[Row]:
        """Return the rows of one prepared statement, which is planned once for all values.

        :raises DBAPIError: of SQLAlchemy, like a session.
        """
        with self.raw_connection() as raw:
            return raw.prepared(sql, values)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a connection whose statements all see the database as of the first one.

        With the option `yield_per`, rows stay in the database until they are read. A snapshot occupies
        a connection until the block ends; at most half of the pool's connections may be occupied so.

        :raises TimeoutError: of SQLAlchemy; no connection became free in time.
        """
        if not self._free_snapshots.acquire(timeout=POOL_TIMEOUT_S):
            raise PoolTimeoutError("No snapshot became free")
        try:
            with self._snapshots.connect() as connection:
                connection.exec_driver_sql(
                    f"SET LOCAL idle_in_transaction_session_timeout = '{_STALLED}'"
                )
                yield connection
        finally:
            self._free_snapshots.release()

    def probe(self) -> None:
        """Check that the server responds and accepts writes, on a new connection.

        It does not depend on the pool, which may be busy. If the server hangs, this may hang too, so
        the caller needs a time limit.

        :raises SQLAlchemyError: the server does not respond.
        :raises ReadOnly: the server does not accept writes.
        """
        with self._prober.connect() as connection:
            if connection.scalar(
                text(
                    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
                )
            ):
                raise ReadOnly

    def server_time(self) -> tuple[datetime, float, float]:
        """Return the server's time, `time.monotonic` at that moment, and the error of both in seconds.

        It uses a new connection.

        :raises SQLAlchemyError: the server does not respond.
        """
        with self._prober.connect() as connection:
            before = time.monotonic()
            server_time = cast("datetime", connection.scalar(text("SELECT clock_timestamp()")))
            half_s = (time.monotonic() - before) / 2
        return server_time, before + half_s, half_s

    def dispose(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()
