"""Brings a database to the newest schema: `python -m origin.migrate`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from origin.errors import ConfigurationError
from origin.settings import DatabaseSettings, Settings, load_settings

_INI = Path(__file__).resolve().parent.parent / "migrations" / "alembic.ini"


def alembic_config(database_url: URL | str) -> Config:
    """Alembic's configuration for this database, for its commands."""
    config = Config(str(_INI))
    config.attributes["database_url"] = make_url(database_url).set(drivername="postgresql+psycopg2")
    return config


def upgrade(database_url: URL | str) -> None:
    """Migrate to the newest revision; safe when many do so at once (an advisory lock)."""
    command.upgrade(alembic_config(database_url), "head")


def main(arguments: Sequence[str]) -> int:
    """Migrate the database that DATABASE_URI names; exit status 2 where the environment is wrong.

    Where the database can't be used it is 1. Either is told in one line.

    :param arguments: `--check-settings` refuses to migrate unless all settings are right, which
        is what the service's own processes want: one message for all that is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m origin.migrate", description=__doc__)
    parser.add_argument("--check-settings", action="store_true", help="check all settings first")
    kind = Settings if parser.parse_args(arguments).check_settings else DatabaseSettings
    try:
        settings = load_settings(kind)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        upgrade(settings.database_url)
    except OperationalError as error:
        sys.stderr.write(f"The database can't be used: {_reason(error)}\n")
        return 1
    return 0


def _reason(error: OperationalError) -> str:
    """What the driver says, in one line; it may try several addresses, and shows no password."""
    return " ".join(str(error.orig).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
