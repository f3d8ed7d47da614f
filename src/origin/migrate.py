"""Brings a database to the newest schema: `python -m origin.migrate`."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from origin.batches.service.ledger_mode import check_ledger_mode
from origin.db.engine import Database
from origin.errors import ConfigurationError
from origin.settings import DatabaseSettings, Settings, load_settings
from origin.telemetry.logs import configure_logging

_INI = Path(__file__).resolve().parent.parent / "migrations" / "alembic.ini"
_PATIENCE_S = 300.0
"""For how long a busy table is asked for."""
_PAUSE_S = 1.0
"""In which those who waited behind us have their turn."""

log = logging.getLogger(__name__)


def alembic_config(database_url: URL | str) -> Config:
    """Alembic's configuration for this database, for its commands."""
    config = Config(str(_INI))
    config.attributes["database_url"] = make_url(database_url).set(drivername="postgresql+psycopg2")
    return config


def upgrade(database_url: URL | str) -> None:
    """Migrate to the newest revision; safe when many do so at once (an advisory lock).

    A table that others keep busy is waited for in short turns, so that they needn't wait behind us.

    :raises ConfigurationError: the server is not as the service needs it, or a later version of the
        service has migrated the database.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            command.upgrade(alembic_config(database_url), "head")
        except CommandError as error:
            if not isinstance(error.__cause__, ResolutionError):
                raise
            told = "A later version of the service has migrated the database: start that one"
            raise ConfigurationError(told) from error
        except OperationalError as error:
            is_busy = isinstance(error.orig, LockNotAvailable | DeadlockDetected)
            if not is_busy or time.monotonic() > deadline:
                raise
            log.warning("A table is busy; the migration tries again")
            time.sleep(_PAUSE_S)
        else:
            return


def main(arguments: Sequence[str]) -> int:
    """Migrate the database that DATABASE_URI names; exit status 2 where it, or the environment, is wrong.

    Where the database can't be used it is 1. Either is told in one line.

    :param arguments: `--check-settings` refuses to migrate unless all settings are right, which
        is what the service's own processes want: one message for all that is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m origin.migrate", description=__doc__)
    parser.add_argument("--check-settings", action="store_true", help="check all settings first")
    kind = Settings if parser.parse_args(arguments).check_settings else DatabaseSettings
    try:
        settings = load_settings(kind)
        if isinstance(settings, Settings):
            # As the service's own processes log: these lines are the first of theirs.
            configure_logging(settings)
        upgrade(settings.database_url)
        if isinstance(settings, Settings):
            _check_start(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OperationalError as error:
        sys.stderr.write(f"The database can't be used: {_reason(error)}\n")
        return 1
    return 0


def _check_start(settings: Settings) -> None:
    """Check what only the migrated database can tell.

    :raises ConfigurationError: a process must not start.
    """
    database = Database(settings.database_url, pool_size=1)
    try:
        check_ledger_mode(database, ledger_enabled=settings.ledger_enabled)
    finally:
        database.dispose()


def _reason(error: OperationalError) -> str:
    """What the driver says, in one line; it may try several addresses, and shows no password."""
    return " ".join(str(error.orig).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
