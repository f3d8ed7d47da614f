"""Proves to the other processes that a worker or Beat works, by a time in PostgreSQL.

A worker proves it when a task has succeeded, Beat when it has sent a sweep. A process that hangs
proves nothing. `/health/work` and the gauge `processes` show who works.
"""

import logging
import time
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from origin.db import process_secrets
from origin.db.engine import Database

_EVERY_S = 5.0
"""The shortest time between two writes."""
_GRACE_S = 15.0

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes that this process works.

    :param sweep_interval_s: SWEEP_INTERVAL. A process counts as working until it has missed three
        sweeps and `_GRACE_S` have passed.
    :ivar process: The name by which it has announced itself; None: nothing is written yet.
    """

    def __init__(self, database: Database, sweep_interval_s: float) -> None:
        self.process: str | None = None
        self._database = database
        self._valid_for = timedelta(seconds=_GRACE_S + 3 * sweep_interval_s)
        self._next = 0.0

    def worked(self) -> None:
        """Write that this process has just worked, once in `_EVERY_S` at most. It only logs database errors."""
        now = time.monotonic()
        if self.process is None or now < self._next:
            return
        self._next = now + _EVERY_S
        try:
            with self._database.transaction() as session:
                if not process_secrets.is_read_only(session):
                    process_secrets.prove_work(session, self.process, self._valid_for)
        except SQLAlchemyError as error:
            log.info("The heartbeat was not written: %s", type(error).__name__)
