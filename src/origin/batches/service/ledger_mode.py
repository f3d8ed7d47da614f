"""Running without a ledger: LEDGER_ENABLED=0 (contract: peers, No ledger).

A compose is then final in its own transaction; nothing is signed, posted or reconciled.
"""

import logging

from origin.batches.queries.reports import any_under_way
from origin.db.engine import Database
from origin.errors import ConfigurationError

log = logging.getLogger(__name__)


def check_ledger_mode(database: Database, *, ledger_enabled: bool) -> None:
    """Check that the service may start with this LEDGER_ENABLED; log if the ledger is off.

    :raises ConfigurationError: the ledger is off while batches are under way: nothing would end
        them.
    """
    if ledger_enabled:
        return
    with database.reading() as session:
        if any_under_way(session):
            raise ConfigurationError(
                "LEDGER_ENABLED=0, but batches are under way: start with LEDGER_ENABLED=1 until "
                "`flask ledger status` shows none, then switch the ledger off"
            )
    log.warning(
        "The ledger is switched off (LEDGER_ENABLED=0): operations are final at once",
        extra={"event": "ledger.disabled"},
    )
