"""Migrates a database to the newest schema: `python -m origin.migrate`."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from origin.batches.service.ledger_mode import check_ledger_mode
from origin.db.compatibility import oldest_usable_revision
from origin.db.engine import Database
from origin.errors import ConfigurationError
from origin.keys.sealing import Sealer
from origin.maintenance.service.secret_changes import SecretChanges
from origin.settings import DatabaseSettings, Settings, load_settings
from origin.telemetry.logs import configure_logging

_INI = Path(__file__).resolve().parent.parent / "migrations" / "alembic.ini"
_PATIENCE_S = 300.0
"""Seconds to retry while a table is locked."""
_PAUSE_S = 1.0
"""Seconds between two tries, so that statements that queued behind ours can run."""

log = logging.getLogger(__name__)


def alembic_config(database_url: URL | str) -> Config:
    """Return Alembic's configuration for this database."""
    config = Config(str(_INI))
    config.attributes["database_url"] = make_url(database_url).set(drivername="postgresql+psycopg2")
    return config


def upgrade(database_url: URL | str) -> None:
    """Migrate to the newest revision. Several processes may do so at once (an advisory lock).

    If a table is locked, the migration fails quickly and tries again, so that other statements don't
    queue behind it.

    A database that a later version of the service has migrated stays as it is. A warning is logged
    if this version may use it (`schema_compatibility`).

    :raises ConfigurationError: the server lacks what the service needs, or a later version of the
        service has migrated the database, and this version is too old for it.
    :raises OperationalError: of SQLAlchemy; the database is unavailable, or stays locked.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            command.upgrade(alembic_config(database_url), "head")
        except CommandError as error:
            if not isinstance(error.__cause__, ResolutionError):
                raise
            check_compatibility(database_url)
            return
        except OperationalError as error:
            is_busy = isinstance(error.orig, LockNotAvailable | DeadlockDetected)
            if not is_busy or time.monotonic() > deadline:
                raise
            log.warning("A table is busy; the migration tries again")
            time.sleep(_PAUSE_S)
        else:
            return


def check_compatibility(database_url: URL | str) -> None:
    """Check that this code may use a database that a later version has migrated; log a warning.

    Each migration names the oldest revision whose code works with its schema (decision 33). This
    code is new enough if it has that revision.

    :raises ConfigurationError: this code is too old.
    :raises OperationalError: of SQLAlchemy; the database is unavailable.
    """
    config = alembic_config(database_url)
    database = Database(config.attributes["database_url"], pool_size=1)
    try:
        with database.reading() as session:
            usable_from = oldest_usable_revision(session)
    finally:
        database.dispose()
    script = ScriptDirectory.from_config(config)
    if usable_from not in {each.revision for each in script.walk_revisions()}:
        raise ConfigurationError(
            "A later version of the service has migrated the database, and this version is too old "
            "for it: start that one (doc/operations/upgrade.md)"
        )
    log.warning(
        "A later version of the service has migrated the database; this version works with it",
        extra={"event": "schema.later"},
    )


def main(arguments: Sequence[str]) -> int:
    """Migrate the database that DATABASE_URI names and return the exit status.

    The status is 2 if the environment or the database's configuration is wrong, and 1 if the database
    is unavailable. In both cases one line on stderr says why.

    :param arguments: With `--check-settings` all settings are checked first. The service's entry
        points use it, so that one message names everything that is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m origin.migrate", description=__doc__)
    parser.add_argument("--check-settings", action="store_true", help="check all settings first")
    kind = Settings if parser.parse_args(arguments).check_settings else DatabaseSettings
    try:
        settings = load_settings(kind)
        if isinstance(settings, Settings):
            # Log like the service: the entry points migrate before they start it.
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
    """Check what needs the migrated database.

    :raises ConfigurationError: the service must not start.
    """
    database = Database(settings.database_url, pool_size=1)
    try:
        check_ledger_mode(database, ledger_enabled=settings.ledger_enabled)
        sealer = Sealer([each.get_secret_value() for each in settings.key_encryption_secrets])
        SecretChanges(database, sealer).check_start()
    finally:
        database.dispose()


def _reason(error: OperationalError) -> str:
    """Return the driver's message in one line. It may name several addresses, but no password."""
    return " ".join(str(error.orig).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
