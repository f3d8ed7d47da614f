"""Reads an original database: all of it as of one moment, in ranges of ids."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import (
    ISOLATION_LEVEL_REPEATABLE_READ,
)
from psycopg2.extensions import (
    connection as DriverConnection,  # noqa: N812 - a class
)

from origin.adoption.queries.connections import reason_of
from origin.adoption.queries.record import usable_wh
from origin.adoption.queries.tables import GGOS, TABLES, SourceTable
from origin.adoption.rules import CannotAdopt

_COLUMNS = """
SELECT attname FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped
"""
# The hash is of the whole row, so any change shows. md5 exists in every version of PostgreSQL.
_FINGERPRINT = sql.SQL("""
SELECT count(*), max(id), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)
FROM {table} AS t
""")
_RANGE = sql.SQL("""
SELECT max(id), count(*) FROM (
    SELECT id FROM {table} WHERE id > {after} ORDER BY id LIMIT {limit}
) AS range
""")
_BEFORE_ALL_IDS = -(2**63)
ORIGINAL_HEAD = "dd6130a7a463"
"""The original service's last schema (contract: original-schema)."""


@dataclass(frozen=True)
class IdRange:
    """The rows whose id is above `after` and at most `last`; both None: the rows without an id."""

    after: int | None
    last: int | None


class Source:
    """An original database, in one snapshot.

    :param schema: Where its tables are.
    """

    def __init__(self, connection: DriverConnection, schema: str) -> None:
        self._connection, self._schema = connection, schema
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)

    def check_tables(self) -> None:
        """Check that all tables and columns are there.

        :raises CannotAdopt: naming what is missing.
        """
        missing, head = [], self.other_head()
        for table in TABLES:
            found = {row[0] for row in self._rows(sql.SQL(_COLUMNS), (self._schema, table.name))}
            if not found:
                missing.append(f"table {table.name}")
            else:
                missing += [
                    f"column {table.name}.{name}" for name in table.columns if name not in found
                ]
        if missing:
            raise CannotAdopt(
                f"The source's schema {self._schema} is not the original service's. It lacks "
                f"{', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}"
                f"{f'. Its Alembic head is {head}, not {ORIGINAL_HEAD}' if head else ''}"
            )

    def other_head(self) -> str | None:
        """Return the source's Alembic head if it differs from the original's last; None: it may not."""
        table = sql.Identifier(self._schema, "alembic_version")
        ((is_readable,),) = self._rows(
            sql.SQL("SELECT has_table_privilege(to_regclass({}), 'SELECT')").format(
                sql.Literal(table.as_string(self._connection))
            )
        )
        heads = (
            [head for (head,) in self._rows(sql.SQL("SELECT version_num FROM {}").format(table))]
            if is_readable
            else []
        )
        # In this service's own schema, the heads are its own: four digits.
        return next((head for head in heads if head != ORIGINAL_HEAD and len(head) > 4), None)

    def fingerprint(self) -> tuple[str, dict[SourceTable, int]]:
        """Return a text that changes with any row, and the number of rows by table."""
        facts, counts = [], {}
        for table in TABLES:
            ((count, last, digest),) = self._rows(_FINGERPRINT.format(table=self._name(table)))
            facts.append(f"{table.name}:{count}:{last}:{digest}")
            counts[table] = int(count)
        return " ".join(facts), counts

    def energy(self) -> int:
        """Return the Wh of all GGOs, spent ones included."""
        ((found,),) = self._rows(
            sql.SQL("SELECT coalesce(sum({}), 0) FROM {}").format(
                sql.SQL(usable_wh("amount::numeric")), self._name(GGOS)
            )
        )
        return int(found)

    def release(self) -> None:
        """End the snapshot; the next call reads the database as it is then."""
        with _errors_named():
            self._connection.rollback()

    def next_range(self, table: SourceTable, after: int | None, limit: int) -> IdRange | None:
        """Return the next range of ids after this one; None: there are no more rows.

        :param limit: How many different rows it holds, more or less: equal ids stay together.
        """
        lowest = sql.Literal(_BEFORE_ALL_IDS if after is None else after)
        ((last, _),) = self._rows(
            _RANGE.format(table=self._name(table), after=lowest, limit=sql.Literal(limit))
        )
        return None if last is None else IdRange(after, int(last))

    def copy(self, table: SourceTable, rows: IdRange) -> io.BytesIO:
        """Return the rows of a range in the text format of COPY, with the columns of the table."""
        text = io.BytesIO()
        with _errors_named(), self._connection.cursor() as cursor:
            query = sql.SQL("COPY ({}) TO STDOUT").format(self._select(table, rows))
            cursor.copy_expert(query, text)
        text.seek(0)
        return text

    def read(self, table: SourceTable, rows: IdRange) -> list[dict[str, Any]]:
        """Return the rows of a range by column; all values are texts, NULL is None."""
        found = self._rows(self._select(table, rows, cast="::text"))
        return [dict(zip(table.columns, row, strict=True)) for row in found]

    def _select(self, table: SourceTable, rows: IdRange, cast: str = "") -> sql.Composed:
        columns = [sql.Identifier(name) + sql.SQL(cast) for name in table.columns]
        return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY id").format(
            sql.SQL(", ").join(columns), self._name(table), _condition(rows)
        )

    def _name(self, table: SourceTable) -> sql.Composable:
        return sql.Identifier(self._schema, table.name)

    def _rows(self, query: sql.Composable, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _errors_named(), self._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall()


@contextmanager
def _errors_named() -> Iterator[None]:
    """Turn errors of the driver into one line.

    :raises CannotAdopt: instead of them.
    """
    try:
        yield
    except psycopg2.Error as error:
        raise CannotAdopt(f"The source: {reason_of(error)}") from error


def _condition(rows: IdRange) -> sql.Composable:
    if rows.last is None:
        return sql.SQL("id IS NULL")
    after = _BEFORE_ALL_IDS if rows.after is None else rows.after
    return sql.SQL("id > {} AND id <= {}").format(sql.Literal(after), sql.Literal(rows.last))
