"""Alembic's entry: where the database is, and what it should look like.

Run by `pipenv run migrate`, by each container at its start (`origin.migrate`), or by
`alembic upgrade head` in this folder with DATABASE_URI set.
"""

from alembic import context
from sqlalchemy import create_engine, pool, text

from origin.db.models import Base
from origin.settings import DatabaseSettings, load_settings

LOCK_KEY = 5_713_131_804
"""Any number of our own: whoever holds this advisory lock migrates, all others wait."""


def _url() -> str:
    """The address that `origin.migrate` was given, else DATABASE_URI's."""
    given = context.config.attributes.get("database_url")
    url = given or load_settings(DatabaseSettings).database_url
    return str(url.render_as_string(hide_password=False))


def run() -> None:
    """Migrate under the lock, so that any number of containers may start at once."""
    engine = create_engine(_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        # A session's lock: held over this commit, and given back with the connection.
        connection.commit()
        context.configure(
            connection=connection, target_metadata=Base.metadata, compare_server_default=True
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
