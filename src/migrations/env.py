"""Alembic's entry: where the database is, and what it should look like.

Run by `pipenv run migrate`, by each container at its start (`origin.migrate`), or by
`alembic upgrade head` in this folder with DATABASE_URI set.
"""

import logging
import time
from typing import cast

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import URL

from origin.db.connector import make_engine
from origin.db.models import Base
from origin.db.session_settings import MIGRATION_TIMEOUTS, check_server
from origin.settings import DatabaseSettings, load_settings

LOCK_KEY = 5_713_131_804
"""Any number of our own: whoever holds this advisory lock migrates, all others wait."""
_POLL_S = 0.2

log = logging.getLogger(__name__)


def _url() -> URL:
    """The address that `origin.migrate` was given, else DATABASE_URI's."""
    given = cast("URL | None", context.config.attributes.get("database_url"))
    return given or load_settings(DatabaseSettings).database_url


def _wait_for_turn(connection: Connection) -> None:
    """Take the lock, however long another migrates.

    It is asked for again and again: a wait within a statement would hold a snapshot, for which
    `CREATE INDEX CONCURRENTLY` of the other one waits, and `lock_timeout` would end it.
    """
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
        connection.commit()
        time.sleep(_POLL_S)
    # A session's lock: held over this commit, and given back with the connection.
    connection.commit()


def run() -> None:
    """Migrate under the lock, so that any number of containers may start at once."""
    engine = make_engine(_url(), MIGRATION_TIMEOUTS, poolclass=pool.NullPool)
    with engine.connect() as connection:
        unsafe = check_server(connection)
        if unsafe:
            log.warning("The database may lose what it has confirmed: %s off", ", ".join(unsafe))
        _wait_for_turn(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=True,
            # No table stays locked while the next migration waits or builds.
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


if context.is_offline_mode():
    context.configure(
        url=_url(), target_metadata=Base.metadata, literal_binds=True, dialect_name="postgresql"
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
