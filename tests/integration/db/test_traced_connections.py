"""Statements make spans that tell operation and table, and nothing of their values."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from origin.db.engine import Database
from origin.telemetry import context
from origin.telemetry.tracing import FinishedSpan, SpanKind, export_to


@pytest.fixture
def ended() -> Iterator[list[FinishedSpan]]:
    """The spans of a request that lasts as long as the test."""
    spans: list[FinishedSpan] = []
    export_to(spans.append, statements=True)
    context.begin_work("GET /ggo", None, None)
    yield spans
    context.end_work()
    export_to()


@pytest.fixture
def database(ended: list[FinishedSpan], module_database_uri: str) -> Iterator[Database]:
    """A database whose connections were opened while spans were exported."""
    url = make_url(module_database_uri).set(drivername="postgresql+psycopg2")
    opened = Database(url, 1)
    with opened.reading() as session:
        # SQLAlchemy's first questions to the server, and this one.
        session.execute(text("SELECT 1"))
    ended.clear()
    yield opened
    opened.dispose()


def names(ended: list[FinishedSpan]) -> list[str]:
    return [each.span.name for each in ended if not each.span.name.startswith("PREPARE")]


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT subject FROM users WHERE subject = :it", "SELECT users"),
        ("SELECT :it", "SELECT"),
        ("select 1 from ggos where begin < now() and :it <> '' for update", "SELECT ggos"),
        ("WITH a AS (SELECT id FROM batches) SELECT id, :it FROM a", "SELECT batches"),
        (
            "WITH due AS (SELECT id FROM batches WHERE :it = '' FOR UPDATE SKIP LOCKED) "  # noqa: ISC004
            "UPDATE batches SET state = state FROM due WHERE due.id = batches.id",
            "UPDATE batches",
        ),
        ("DELETE FROM users WHERE subject = :it", "DELETE users"),
        ("SELECT FROM unnest(ARRAY[:it]) AS x", "SELECT"),
    ],
)
def test_a_statement_is_named_by_its_operation_and_table(
    database: Database, ended: list[FinishedSpan], sql: str, name: str
):
    with database.reading() as session:
        session.execute(text(sql), {"it": "hush-hush"})
    assert names(ended) == [name]
    assert "hush-hush" not in repr(ended)


def test_prepared_statements_and_commits(database: Database, ended: list[FinishedSpan]):
    sql = "SELECT id FROM ggos WHERE address = %(address)s"
    database.prepared(sql, {"address": "hush-hush"})
    with database.raw_connection() as raw:
        raw.execute_together((sql, {"address": "hush-hush"}))
    with database.raw_connection(transaction=True) as raw:
        raw.rows("DELETE FROM users WHERE subject = %(it)s", {"it": "hush-hush"})
    with database.transaction() as session:
        session.execute(text("DELETE FROM users WHERE subject = :it"), {"it": "hush-hush"})
    assert names(ended) == [
        "SELECT ggos",
        "SELECT ggos",
        "DELETE users",
        "COMMIT",
        "DELETE users",
        "COMMIT",
    ]
    assert "hush-hush" not in repr(ended)
    assert {each.kind for each in ended} == {SpanKind.STATEMENT}
    [first] = [each for each in ended if each.span.name.startswith("PREPARE")]
    assert first.attributes["db.operation.name"] == "PREPARE"


def test_an_error_is_told_by_its_sqlstate(database: Database, ended: list[FinishedSpan]):
    with pytest.raises(DBAPIError), database.reading() as session:
        session.execute(text("SELECT hush FROM nowhere"))
    assert [each.error for each in ended] == ["42P01"]


def test_a_snapshot_is_traced(database: Database, ended: list[FinishedSpan]):
    with database.snapshot() as connection:
        options = {"yield_per": 2}
        rows = connection.execute(text("SELECT id FROM ggos"), execution_options=options)
        assert rows.all() == []
    assert "SELECT ggos" in names(ended)


def test_outside_of_requests_nothing_is_traced(database: Database, ended: list[FinishedSpan]):
    context.end_work()
    database.query("SELECT id FROM ggos", {})
    assert ended == []


def test_without_an_exporter_connections_are_the_drivers(module_database_uri: str):
    url = make_url(module_database_uri).set(drivername="postgresql+psycopg2")
    database = Database(url, 1)
    with database.raw_connection() as raw:
        assert type(raw._connection).__module__ == "psycopg2.extensions"
    database.dispose()
