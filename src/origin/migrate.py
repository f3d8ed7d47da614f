"""Brings a database to the newest schema: `python -m origin.migrate`."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL, make_url

from origin.errors import ConfigurationError
from origin.settings import DatabaseSettings, load_settings

_INI = Path(__file__).resolve().parent.parent / "migrations" / "alembic.ini"


def alembic_config(database_url: URL | str) -> Config:
    """Alembic's configuration for this database, for its commands."""
    config = Config(str(_INI))
    config.attributes["database_url"] = make_url(database_url).set(drivername="postgresql+psycopg2")
    return config


def upgrade(database_url: URL | str) -> None:
    """Migrate to the newest revision; safe when many do so at once (an advisory lock)."""
    command.upgrade(alembic_config(database_url), "head")


def main() -> int:
    """Migrate the database that DATABASE_URI names; exit status 2 where it is missing or wrong."""
    try:
        settings = load_settings(DatabaseSettings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    upgrade(settings.database_url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
