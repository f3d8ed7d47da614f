"""Plain SQL on the service's database, without the service's code."""

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor


def rows(uri: str, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """Execute one statement, commit, and return its rows by column name."""
    with (
        closing(psycopg2.connect(uri, connect_timeout=5)) as connection,
        connection,
        connection.cursor(cursor_factory=RealDictCursor) as cursor,
    ):
        cursor.execute(sql, parameters or None)
        return [dict(row) for row in cursor.fetchall()] if cursor.description else []
