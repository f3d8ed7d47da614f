"""Alembic's entry point: connects to the database and runs the migrations.

It runs in `pipenv run migrate`, at the start of each container (`origin.migrate`), or by
`alembic upgrade head` in this folder with DATABASE_URI set.
"""

import logging
import time
from collections.abc import Collection
from typing import cast

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import URL

from origin.db.connector import make_engine
from origin.db.models import Base
from origin.db.session_settings import MIGRATION_TIMEOUTS, check_server
from origin.settings import DatabaseSettings, load_settings

LOCK_KEY = 5_713_131_804
"""The advisory lock of migrations; an arbitrary number. Only its holder migrates."""
_POLL_S = 0.2

log = logging.getLogger(__name__)


def _url() -> URL:
    """Return the URL that `origin.migrate` passes, or DATABASE_URI."""
    given = cast("URL | None", context.config.attributes.get("database_url"))
    return given or load_settings(DatabaseSettings).database_url


def _wait_for_turn(connection: Connection) -> None:
    """Poll until the lock is free, and take it.

    A statement that waits for the lock would hold a snapshot. `CREATE INDEX CONCURRENTLY` of the other
    process would wait for that snapshot. Also, `lock_timeout` would end the wait.
    """
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
        connection.commit()
        time.sleep(_POLL_S)
    # The lock belongs to the session: it survives this commit and ends with the connection.
    connection.commit()


def _record_compatibility(*, ctx: MigrationContext, heads: Collection[str], **_: object) -> None:
    """Write which code may use the schema that a migration has just made, in its own transaction."""
    [head] = heads or [None]
    module = head and context.script.get_revision(head).module
    usable_from = getattr(module, "usable_from", None)
    if usable_from is None:
        return  # The table isn't there before revision 0014.
    ctx.connection.execute(
        text(
            "INSERT INTO schema_compatibility (usable_from) VALUES (:usable_from) "
            "ON CONFLICT (is_row) DO UPDATE SET usable_from = excluded.usable_from"
        ),
        {"usable_from": usable_from},
    )


def run() -> None:
    """Migrate under the lock, so that many containers may start at once."""
    engine = make_engine(_url(), MIGRATION_TIMEOUTS, poolclass=pool.NullPool)
    with engine.connect() as connection:
        unsafe = check_server(connection)
        if unsafe:
            log.warning("A crash of the database may lose commits: %s off", ", ".join(unsafe))
        _wait_for_turn(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=True,
            # Each migration releases its table locks before the next one starts.
            transaction_per_migration=True,
            on_version_apply=_record_compatibility,
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
