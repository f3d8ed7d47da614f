"""Pooled connections are alive at checkout and keep nothing of their previous use."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from origin.db import raw_connections
from origin.db.engine import Database
from origin.db.raw_connections import MAX_PREPARED, RawConnection

_END_ITSELF = "SELECT pg_terminate_backend(pg_backend_pid())"


def _in_a_session(database: Database, sql: str) -> None:
    with database.reading() as session:
        session.execute(text(sql))


def _in_a_transaction(database: Database, sql: str) -> None:
    with database.transaction() as session:
        session.execute(text(sql))


def _by_itself(database: Database, sql: str) -> None:
    database.query(sql, {})


@pytest.fixture
def database(database_uri: str) -> Iterator[Database]:
    made = Database(make_url(database_uri).set(drivername="postgresql+psycopg2"), pool_size=1)
    yield made
    made.dispose()


@pytest.mark.parametrize("ask", [_in_a_session, _in_a_transaction, _by_itself])
def test_a_dead_connection_is_replaced(database: Database, ask: Callable[[Database, str], None]):
    """It happens more often than the pool has connections, and the next reader always succeeds."""
    for _ in range(3):
        with pytest.raises(DBAPIError) as raised:
            ask(database, _END_ITSELF)
        assert raised.value.connection_invalidated
        ask(database, "SELECT 1")


def test_each_use_of_a_connection_has_its_own_isolation(database: Database):
    """The pool has one connection, which each use configures differently."""
    level = text("SHOW transaction_isolation")

    def keeps_transactions_whole() -> bool:
        """Return whether a rollback takes a change back."""
        with database.transaction() as session:
            assert session.scalar(level) == "read committed"
            session.execute(text("CREATE TABLE taken_back ()"))
            session.rollback()
        return database.query("SELECT to_regclass('taken_back')", {}) == [(None,)]

    assert keeps_transactions_whole()
    with pytest.raises(DBAPIError):
        database.query("SELECT 1 / %(zero)s", {"zero": 0})
    assert keeps_transactions_whole()
    with database.snapshot() as connection:
        assert connection.execute(level).scalar() == "repeatable read"
    assert keeps_transactions_whole()
    with database.reading() as session:
        assert session.scalar(level) == "read committed"
    assert keeps_transactions_whole()


def test_readers_do_not_notice_a_restart_of_the_server(database_uri: str):
    """The server ends all connections, as at its restart."""
    url = make_url(database_uri).set(drivername="postgresql+psycopg2")
    database = Database(url, pool_size=2)
    try:
        with database.reading() as one, database.reading() as other:
            for session in (one, other):
                session.execute(text("SELECT 1"))
        with closing(psycopg2.connect(database_uri)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with database.transaction() as one, database.reading() as other:
            for session in (one, other):
                assert session.scalar(text("SELECT 1")) == 1
    finally:
        database.dispose()


def test_statements_stay_prepared(database: Database):
    sql = "SELECT %(number)s::int + 1"
    assert [database.prepared(sql, {"number": each}) for each in (1, 2)] == [[(2,)], [(3,)]]
    assert database.query("SELECT count(*) FROM pg_prepared_statements", {}) == [(1,)]
    # A pooler may do so too.
    database.query("DEALLOCATE ALL", {})
    assert database.prepared(sql, {"number": 3}) == [(4,)]


def test_execute_together_prepares_dropped_statements_again(database: Database):
    def ask() -> object:
        with database.raw_connection() as link:
            return link.execute_together(("SELECT 1", {}), ("SELECT 2", {}), ("SELECT 3", {}))

    assert ask() == [(3,)]
    database.query("DEALLOCATE ALL", {})
    assert ask() == [(3,)]
    # At every number of prepared statements, so at each place where room is made.
    for number in range(MAX_PREPARED + 5):
        database.prepared(f"SELECT {number} + 10", {})
        if number > MAX_PREPARED - 5:
            assert ask() == [(3,)]


def test_a_statement_is_prepared_again_after_its_table_changed(database: Database):
    database.query("CREATE TABLE changing (number int)", {})
    sql = "SELECT * FROM changing"
    assert database.prepared(sql, {}) == []
    database.query("ALTER TABLE changing ADD other int", {})
    assert database.prepared(sql, {}) == []


def test_dropped_statements_in_a_transaction_are_a_transient_error(database: Database):
    sql = "SELECT %(number)s::int"

    def ask() -> object:
        with database.raw_connection(transaction=True) as link:
            return link.prepared(sql, {"number": 1})

    assert ask() == [(1,)]
    database.query("DEALLOCATE ALL", {})
    with pytest.raises(DBAPIError) as raised:
        ask()
    assert raised.value.connection_invalidated
    assert ask() == [(1,)]


def test_the_number_of_prepared_statements_is_bounded(database: Database):
    for number in range(MAX_PREPARED + 5):
        assert database.prepared(f"SELECT {number}", {}) == [(number,)]
    ((count,),) = database.query("SELECT count(*) FROM pg_prepared_statements", {})
    assert count <= MAX_PREPARED


def test_a_raw_connections_transaction_is_all_or_nothing(database: Database):
    with database.raw_connection(transaction=True) as link:
        link.rows("CREATE TABLE kept (number int)", {})
        link.prepared("INSERT INTO kept VALUES (%(number)s)", {"number": 1})

    def insert_and(fail: Callable[[RawConnection], object]) -> None:
        with database.raw_connection(transaction=True) as link:
            link.prepared("INSERT INTO kept VALUES (%(number)s)", {"number": 2})
            fail(link)

    def interrupt(_: RawConnection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        insert_and(interrupt)
    with pytest.raises(DBAPIError):
        insert_and(lambda link: link.rows("SELECT 1 / 0", {}))
    assert database.query("SELECT number FROM kept", {}) == [(1,)]


def test_execute_together_is_one_transaction(database: Database):
    database.query("CREATE TABLE together (number int PRIMARY KEY)", {})
    insert = "INSERT INTO together VALUES (%(number)s)"
    count = "SELECT count(*) FROM together"
    with database.raw_connection() as link:
        assert link.execute_together((insert, {"number": 1}), (count, {})) == [(1,)]
    with pytest.raises(DBAPIError), database.raw_connection() as link:
        link.execute_together((insert, {"number": 2}), (insert, {"number": 1}), (count, {}))
    assert database.query(count, {}) == [(1,)]


def test_an_open_transaction_does_not_reach_the_next_user(database: Database):
    """The block begins a transaction itself and is interrupted."""
    with database.raw_connection() as link:
        link.rows("BEGIN", {})
        link.rows("CREATE TABLE left_open ()", {})
    assert database.query("SELECT to_regclass('left_open')", {}) == [(None,)]
    with database.transaction() as session:
        assert session.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(("rows", "pauses"), [(0, 0), (2000, 0), (2001, 1), (4000, 1), (4001, 2)])
def test_others_may_run_while_many_rows_are_read(
    database: Database, monkeypatch: pytest.MonkeyPatch, rows: int, pauses: int
):
    slept: list[float] = []
    monkeypatch.setattr(raw_connections.time, "sleep", slept.append)
    sql = "SELECT n FROM generate_series(1, %(rows)s) AS n ORDER BY n"
    assert database.query(sql, {"rows": rows}) == [(n,) for n in range(1, rows + 1)]
    assert slept == [0] * pauses
