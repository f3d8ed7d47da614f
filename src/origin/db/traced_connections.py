"""Connections of the driver whose statements make spans. They are opened only if spans are exported.

A span has the statement's operation and table, and never its text: values of some statements are secret.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from psycopg2.extensions import cursor as DriverCursor  # noqa: N812 - a class

from origin.telemetry.tracing import SpanKind, begin_statement, finish

_LOOKED_AT = 2000
"""How many characters of a statement are read: the table comes before long lists of values."""
_WORD = re.compile(r"\w+")
_WRITE = re.compile(
    r"\b(INSERT)\s+INTO\s+(\w+)|\b(DELETE)\s+FROM\s+(\w+)|(?<!FOR )(?<!DO )(?<!KEY )\b(UPDATE)\s+(\w+)",
    re.IGNORECASE,
)
_TABLE = re.compile(r"\bFROM\s+(\w+)\b(?!\s*\()", re.IGNORECASE)
_BEGIN = "BEGIN; "
_PREPARE = re.compile(r"PREPARE (\w+) AS ")
_EXECUTE = re.compile(r"EXECUTE (\w+)")

Summary = tuple[str, str]
"""A statement's operation, and its table or the empty string."""

_prepared: dict[str, Summary] = {}
"""The summaries of prepared statements, by their names. All connections use the same names."""


def _summary(statement: str) -> Summary:
    """Return a statement's summary: of the first write in it, else of its first table."""
    statement = statement.removeprefix(_BEGIN)
    if found := _PREPARE.match(statement):
        _prepared[found[1]] = _of_text(statement[found.end() :][:_LOOKED_AT])
        return "PREPARE", ""
    if found := _EXECUTE.match(statement):
        return _prepared.get(found[1], ("EXECUTE", ""))
    return _of_text(statement[:_LOOKED_AT])


@lru_cache(1000)
def _of_text(statement: str) -> Summary:
    if found := _WRITE.search(statement):
        operation, table = filter(None, found.groups())
        return operation.upper(), table
    word = _WORD.search(statement)
    operation = word[0].upper() if word else "SQL"
    table = _TABLE.search(statement)
    # A WITH without a write only reads.
    return ("SELECT" if operation == "WITH" else operation), (table[1] if table else "")


class TracedCursor(DriverCursor):
    """A cursor of a `TracedConnection`."""

    connection: "TracedConnection"

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - the driver's name
        """Execute a statement, and make its span; errors are the driver's."""
        # Statements in bytes contain values, but they begin with EXECUTE and a prepared statement's name.
        text = query[:100].decode(errors="replace") if isinstance(query, bytes) else str(query)
        self.connection.trace(_summary(text), super().execute, query, vars)


class TracedConnection(DriverConnection):
    """A connection whose statements and commits make spans."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = TracedCursor
        self._attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.namespace": self.info.dbname,
            # For a Unix socket, its folder.
            "server.address": self.info.host,
            "server.port": self.info.port,
        }

    def commit(self) -> None:
        """Commit; errors are the driver's."""
        if self.info.transaction_status == TRANSACTION_STATUS_INTRANS:
            self.trace(("COMMIT", ""), super().commit)
        else:
            super().commit()

    def trace(self, summary: Summary, run: Callable[..., None], *arguments: Any) -> None:
        """Call `run`, and make a span of it if its request or task is traced."""
        operation, table = summary
        name = f"{operation} {table}".rstrip()
        span = begin_statement(name)
        if span is None:
            run(*arguments)
            return
        attributes = {**self._attributes, "db.operation.name": operation, "db.query.summary": name}
        if table:
            attributes["db.collection.name"] = table
        failure = None
        try:
            run(*arguments)
        except psycopg2.Error as error:
            failure = error.pgcode or type(error).__name__
            raise
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            finish(span, SpanKind.STATEMENT, attributes, failure)
