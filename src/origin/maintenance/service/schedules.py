"""Periodic work: whoever finds it due has it done, however often Beat is restarted."""

import logging
from collections.abc import Callable, Mapping

from origin.db.engine import Database
from origin.maintenance import queries
from origin.maintenance.rules import Rule

log = logging.getLogger(__name__)


def send_due(database: Database, rules: Mapping[str, Rule], send: Callable[[str], bool]) -> int:
    """Claim what is due, and have a worker do it.

    :param send: Sends a task; False where that failed, and the next sweep must try again.
    :returns: how many were sent.
    """
    with database.transaction() as session:
        names = queries.claim_due(session, rules)
    unsent = [name for name in names if not send(name)]
    if unsent:
        log.warning("Periodic work not begun: %s", ", ".join(unsent))
        with database.transaction() as session:
            for name in unsent:
                queries.release(session, name)
    return len(names) - len(unsent)


def finish(database: Database, name: str) -> None:
    """Note that a run has come to its end; one that hasn't is begun anew, by and by."""
    with database.transaction() as session:
        queries.finish(session, name)
