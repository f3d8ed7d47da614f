"""Session settings override those of the role, the database and the environment."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg2
import pytest
from alembic import command
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from devstack.configured import Postgres
from devstack.environment import inherited
from origin.db.engine import Database
from origin.migrate import alembic_config
from tests.support.database import rows
from tests.support.waiting import eventually

_ODD = {
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "on",
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "client_encoding": "LATIN1",
    "tcp_keepalives_idle": "0",
    "tcp_user_timeout": "0",
}
_AS_IT_MUST_BE = {
    "default_transaction_isolation": "read committed",
    "transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "1min",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "row_security": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "tcp_keepalives_idle": "10",
    # PostgreSQL shows this setting in milliseconds.
    "tcp_user_timeout": "20000",
}


def url_of(uri: str) -> URL:
    return make_url(uri).set(drivername="postgresql+psycopg2")


@contextmanager
def database_at(uri: str) -> Iterator[Database]:
    database = Database(url_of(uri), pool_size=2)
    try:
        yield database
    finally:
        database.dispose()


def make_odd(uri: str) -> None:
    """Set everything differently, in the server's place with the highest precedence."""
    url = make_url(uri)
    for name, value in _ODD.items():
        rows(
            uri,
            f'ALTER ROLE "{url.username}" IN DATABASE "{url.database}" SET {name} = \'{value}\'',
        )


@pytest.mark.parametrize("how", ["transaction", "reading", "link"])
def test_every_session_has_the_required_settings(
    database_uri: str, how: str, monkeypatch: pytest.MonkeyPatch
):
    make_odd(database_uri)
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    uri = make_url(database_uri).update_query_dict(
        {"options": "-c statement_timeout=7 -c work_mem=7MB", "client_encoding": "LATIN1"}
    )
    sql = "SELECT " + ", ".join(
        f"current_setting('{name}')" for name in [*_AS_IT_MUST_BE, "work_mem"]
    )
    with database_at(uri.render_as_string(hide_password=False)) as database:
        if how == "link":
            (found,) = database.query(sql, {})
        else:
            with getattr(database, how)() as session:
                found = tuple(session.execute(text(sql)).one())
    assert dict(zip(_AS_IT_MUST_BE, found, strict=False)) == _AS_IT_MUST_BE
    # Operators may choose all other settings.
    assert found[-1] == "7MB"


def test_a_session_that_stops_in_a_transaction_is_ended(database_uri: str):
    """A stopped process keeps its locks for less time than others wait for them."""
    rows(database_uri, "CREATE TABLE held (number int); INSERT INTO held VALUES (1)")
    update = text("UPDATE held SET number = number + 1")
    with database_at(database_uri) as stopped, database_at(database_uri) as other:
        held, waited = threading.Event(), threading.Event()

        def hold() -> None:
            with suppress(DBAPIError), stopped.raw_connection(transaction=True) as link:
                link.rows("UPDATE held SET number = -1", {})
                held.set()
                waited.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            assert held.wait(30)
            with other.transaction() as session:
                session.execute(update)
        finally:
            waited.set()
            holder.join()
    assert rows(database_uri, "SELECT number FROM held") == [{"number": 2}]


def migrate(uri: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "origin.migrate"],
        env={**inherited(), "DATABASE_URI": uri, "PYTHONPATH": "src"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_database_with_another_encoding_is_rejected(postgres: Postgres, empty_database_uri: str):
    url = make_url(empty_database_uri)
    name = f"{url.database}_latin"
    with closing(psycopg2.connect(postgres.uri)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
    try:
        uri = url.set(database=name).render_as_string(hide_password=False)
        with migrate(uri) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "server_encoding is LATIN1; UTF8 is needed" in said.splitlines()[-1]
        assert "The database is not as the service needs it" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert rows(uri, "SELECT to_regclass('users') AS found") == [{"found": None}]
    finally:
        postgres.drop_database(name)


def test_a_migration_waits_for_another_without_limit(empty_database_uri: str):
    """It waits longer than `lock_timeout`, and without a snapshot that others could wait for."""
    make_odd(empty_database_uri)
    rows(
        empty_database_uri,
        f'ALTER DATABASE "{make_url(empty_database_uri).database}" SET lock_timeout = 1',
    )
    with closing(psycopg2.connect(empty_database_uri)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(5713131804)")
        other.commit()
        sessions = (
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'account-service' AND state = 'idle' "
            "AND backend_start < clock_timestamp() - interval '4 seconds'"
        )
        with migrate(empty_database_uri) as process:
            eventually(lambda: rows(empty_database_uri, sessions), "it waits for its turn")
            assert process.poll() is None
            other.close()
            assert process.wait(60) == 0
    assert rows(empty_database_uri, "SELECT count(*) FROM users") == [{"count": 0}]


def test_a_migration_retries_on_a_locked_table(empty_database_uri: str):
    command.upgrade(alembic_config(empty_database_uri), "0001")
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'batches'::regclass"
    with (
        closing(psycopg2.connect(empty_database_uri)) as reader,
        reader.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM batches")
        with migrate(empty_database_uri) as process:
            eventually(lambda: rows(empty_database_uri, waiting), "the migration waits")
            eventually(lambda: not rows(empty_database_uri, waiting), "it gives way")
            eventually(lambda: rows(empty_database_uri, waiting), "it tries again")
            reader.close()
            assert process.wait(60) == 0
    assert rows(empty_database_uri, "SELECT count(*) FROM batches") == [{"count": 0}]
