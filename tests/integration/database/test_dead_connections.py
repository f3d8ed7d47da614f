"""A connection that dies in a request's hands leaves the pool as large as it was."""

import psycopg2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from origin.db.engine import Database


def test_a_connection_that_is_dead_when_given_back_is_replaced(
    database_uri: str, monkeypatch: pytest.MonkeyPatch
):
    """More often than the pool has connections, and each time the next reader is served."""

    def dead(*_: object) -> None:
        raise psycopg2.OperationalError("terminating connection")

    url = make_url(database_uri).set(drivername="postgresql+psycopg2")
    monkeypatch.setattr(PGDialect_psycopg2, "reset_isolation_level", dead)
    database = Database(url, pool_size=1)
    try:
        for _ in range(3):
            with database.reading() as session:
                session.execute(text("SELECT 1"))
    finally:
        database.dispose()
