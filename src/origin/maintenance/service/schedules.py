"""Periodic work: the first process that finds it due claims it. Restarts of Beat do not matter."""

import logging
from collections.abc import Callable, Mapping

from origin.db.engine import Database
from origin.maintenance.queries import schedules as queries
from origin.maintenance.rules.schedules import Schedule

log = logging.getLogger(__name__)


def send_due(
    database: Database, schedules: Mapping[str, Schedule], send: Callable[[str], bool]
) -> int:
    """Claim the work that is due, and send it to a worker.

    :param send: Sends a task by name; returns False if that failed. The next sweep tries again.
    :returns: How many tasks were sent.
    """
    with database.transaction() as session:
        names = queries.claim_due(session, schedules)
    unsent = [name for name in names if not send(name)]
    if unsent:
        log.warning("Periodic work not started: %s", ", ".join(unsent))
        with database.transaction() as session:
            for name in unsent:
                queries.release(session, name)
    return len(names) - len(unsent)


def finish(database: Database, name: str) -> None:
    """Record that a run has ended. A run that does not end in time is started again."""
    with database.transaction() as session:
        queries.finish(session, name)
