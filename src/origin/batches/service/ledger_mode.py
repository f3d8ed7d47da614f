"""Running without a ledger: LEDGER_ENABLED=0 (contract: peers, No ledger).

A compose is then final in its own transaction, and nothing is signed, posted or reconciled.
"""

import logging

from sqlalchemy import exists, select

from origin.db.engine import Database
from origin.db.models import Batch
from origin.errors import ConfigurationError
from origin.settings import Settings

log = logging.getLogger(__name__)


def check_ledger_mode(settings: Settings, database: Database) -> None:
    """See that the service may start with LEDGER_ENABLED as it is. Log where the ledger is off.

    :raises ConfigurationError: the ledger is switched off while batches are under way, which nobody
        would take to their end.
    """
    if settings.ledger_enabled:
        return
    with database.reading() as session:
        if session.scalar(select(exists().where(Batch.ended_at.is_(None)))):
            raise ConfigurationError(
                "LEDGER_ENABLED=0, but batches are under way: start with LEDGER_ENABLED=1 until "
                "`flask ledger status` shows none, then switch the ledger off"
            )
    log.warning(
        "The ledger is switched off (LEDGER_ENABLED=0): operations are final at once",
        extra={"event": "ledger.disabled"},
    )
