"""The connections of an adoption: long statements, COPY, and one advisory lock."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from origin.adoption.rules import CannotAdopt
from origin.db.connector import make_engine

_LOCK_KEY = 5_713_131_805
"""The advisory lock of adoptions; an arbitrary number. Only its holder adopts."""
_LOCK_PATIENCE_S = 5.0
_STREAMED_AT_ONCE = 10_000
_LIMITS = {
    "lock_timeout": "30s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # A killed run lets go of its locks.
    "client_connection_check_interval": "1s",
    # Sums and joins over all rows.
    "work_mem": "64MB",
}
_SOURCE_OPTIONS = (
    "-c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres -c extra_float_digits=1 "
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=30s "
    "-c default_transaction_read_only=on"
)
"""Only settings that servers as old as the original service know."""


def source_url(text: str) -> URL:
    """Return the URL of `--from`.

    :raises CannotAdopt: it is none of PostgreSQL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise CannotAdopt("--from is not a database URI (postgresql://…)") from None
    if not url.drivername.startswith("postgres"):
        raise CannotAdopt("--from is not the URI of a PostgreSQL database")
    if "@" in (url.host or ""):
        # The end of the password would be taken for the host's name, which errors and reports show.
        raise CannotAdopt("--from has more than one @: write the password's as %40")
    return url.set(drivername="postgresql+psycopg2")


@contextmanager
def source_connection(url: URL) -> Iterator[DriverConnection]:
    """Open a connection that only reads.

    :raises CannotAdopt: there is none.
    """
    engine = create_engine(
        url,
        poolclass=NullPool,
        pool_reset_on_return=None,
        hide_parameters=True,
        connect_args={
            "options": _SOURCE_OPTIONS,
            "client_encoding": "UTF8",
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "application_name": "account-service adopt",
        },
    )
    try:
        made = engine.raw_connection()
    except (psycopg2.Error, ValueError) as error:
        # ValueError: the URI holds a character that no connection string can hold.
        raise CannotAdopt(f"The source can't be reached: {reason_of(error)}") from error
    try:
        yield _driver_connection(made)
    finally:
        made.close()
        engine.dispose()


@contextmanager
def target_connection(url: URL) -> Iterator[DriverConnection]:
    """Open a connection to this service's database that holds the lock of adoptions.

    :raises CannotAdopt: another adoption runs.
    :raises psycopg2.Error: the database can't be reached.
    """
    engine = make_engine(url, _LIMITS, poolclass=NullPool, pool_reset_on_return=None)
    made = engine.raw_connection()
    try:
        connection = _driver_connection(made)
        if not _lock(connection):
            raise CannotAdopt("Another adoption is running")
        yield connection
    finally:
        made.close()
        engine.dispose()


def _lock(connection: DriverConnection) -> bool:
    """Take the lock of adoptions; wait a moment, because a killed run's session may still end."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        with transaction(connection) as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,))
            ((is_taken,),) = cursor.fetchall()
        if is_taken or time.monotonic() > deadline:
            return bool(is_taken)
        time.sleep(0.2)


def _driver_connection(made: Any) -> DriverConnection:
    connection: DriverConnection = made.driver_connection
    return connection


@contextmanager
def transaction(connection: DriverConnection, *, keeps: bool = True) -> Iterator[Cursor]:
    """Run the block in one transaction, which commits at its end and which exceptions roll back.

    :param keeps: False: roll it back in any case.
    """
    with connection, connection.cursor() as cursor:
        yield cursor
        if not keeps:
            connection.rollback()


def stream(cursor: Cursor, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, which stay in the database until they are read.

    :param cursor: Of the transaction to read in.
    """
    with cursor.connection.cursor(name="adoption_stream") as named:
        named.itersize = _STREAMED_AT_ONCE
        named.execute(query, values or None)
        yield from named


def reason_of(error: BaseException | None) -> str:
    """Return a database's reason in one line, without values of rows."""
    if isinstance(error, psycopg2.Error) and error.diag.message_primary:
        return str(error.diag.message_primary)
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
