"""Connections and transactions: the one way to talk to PostgreSQL."""

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
"""How long a request waits for a free connection before it fails as 503."""

_STALLED = "60s"
"""For how long a reader of a snapshot may read nothing, before PostgreSQL cuts it off."""


def _reset_isolation_level(connection: Any) -> None:
    """Take from a connection what its last user asked of it; close it where it is dead.

    The driver does so without a word to the server, unlike the dialect. An error would leave the
    request as one of the driver's, and the connection's place in the pool taken for ever.
    """
    try:
        connection.set_session(isolation_level="DEFAULT", autocommit=False)
    except psycopg2.Error:
        connection.close()


def _replace_broken_connections(engine: Engine) -> None:
    """Have a connection replaced by the pool that is dead, or leads to a server that can't be written.

    Whoever asks for one then notices nothing.
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
    # Each time: `dispose` leaves another.
    return cast("RawConnectionPool", engine.pool)


class ReadOnly(Exception):
    """The server is a standby, or operators have stopped writing."""


class Database:
    """A pool of connections, opened when first used.

    Never call a peer while a session is open: connections are few.
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
        # Slow readers of snapshots must not take all connections.
        self._free_snapshots = threading.BoundedSemaphore(max(1, pool_size // 2))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        # Sessions are short: after a bulk UPDATE or DELETE no object in them is used again.
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
        """A session for reading without a transaction, which saves two round trips.

        Each statement sees the database as of its own start.
        """
        with Session(self._autocommit) as session:
            yield session

    @contextmanager
    def raw_connection(self, *, transaction: bool = False) -> Iterator[RawConnection]:
        """A connection in the driver's own form, for what is asked most (`origin.db.raw_connections`).

        :param transaction: All in one: committed at the end of the block, rolled back by any
            exception. Otherwise each statement is by itself.
        :raises DBAPIError: of SQLAlchemy, as a session would.
        """
        entry = None
        pool = _pool_of(self.engine)
        try:
            entry = pool.check_out()
            link = RawConnection(entry, transaction=transaction)
            try:
                yield link
                link.end(commit=True)
            except BaseException:
                link.end(commit=False)
                raise
            finally:
                link.reset()
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
        """The rows of one statement in the driver's own form (`%(name)s`), planned for these values.

        :raises DBAPIError: of SQLAlchemy, as a session would.
        """
        with self.raw_connection() as link:
            return link.rows(sql, values)

    def prepared(self, sql: str, values: Values) -> Sequence[Row]:
        """The rows of one statement whose plan is the same for all values, planned once.

        :raises DBAPIError: of SQLAlchemy, as a session would.
        """
        with self.raw_connection() as link:
            return link.prepared(sql, values)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for a long reading: all its statements see the database as of the first.

        With the option `yield_per` rows stay in the database until they are read. It holds
        a connection for as long as its reader takes; at most half of them may be held so.

        :raises TimeoutError: of SQLAlchemy, like the pool's: none became free in time.
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
        """See whether the server answers and can be written, on a connection of its own.

        A busy pool is no failure. Where the server hangs, this may: the caller must not wait for it
        for ever.

        :raises SQLAlchemyError: it doesn't answer.
        :raises ReadOnly: it can't be written.
        """
        with self._prober.connect() as connection:
            if connection.scalar(
                text(
                    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
                )
            ):
                raise ReadOnly

    def server_time(self) -> tuple[datetime, float, float]:
        """The server's time, the reading of `time.monotonic` then, and by how many seconds that may err.

        On a connection of its own.

        :raises SQLAlchemyError: it can't be told.
        """
        with self._prober.connect() as connection:
            before = time.monotonic()
            told = cast("datetime", connection.scalar(text("SELECT clock_timestamp()")))
            half_s = (time.monotonic() - before) / 2
        return told, before + half_s, half_s

    def dispose(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()
