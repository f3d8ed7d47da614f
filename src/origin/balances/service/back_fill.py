"""Fills in what earlier versions left out of GGOs and rollbacks, also during a rolling update."""

import logging
import time
from dataclasses import dataclass

from origin.balances.queries import back_fill as queries
from origin.db.engine import Database

log = logging.getLogger(__name__)

_SLICE = 1000
"""GGOs in one transaction: few enough that nobody waits long for one of them."""
_RUN_S = 20.0
"""A run ends after this time; Beat's next sweep goes on."""


@dataclass(frozen=True)
class EntryTimes:
    """Fills in the times by which balances and entries are told."""

    database: Database

    def run(self) -> int:
        """Fill in times until no GGO lacks one, or the run's time is over.

        Any number of runs may work at the same time.

        :returns: The number of GGOs whose times it filled in.
        """
        end = time.monotonic() + _RUN_S
        with self.database.transaction() as session:
            # First: the times of their sources follow from them.
            queries.end_rollbacks(session)
            queries.add_rollbacks(session, _SLICE)
        with self.database.transaction() as session:
            filled = queries.fill_in_flight(session)
        beyond = 0
        while time.monotonic() < end:
            with self.database.transaction() as session:
                ids = queries.fill_times(session, beyond, _SLICE)
            filled += len(ids)
            if len(ids) < _SLICE:
                break
            beyond = ids[-1]
        if filled:
            log.info(
                "Filled in the times of %s GGOs",
                filled,
                extra={"event": "entries.times_filled", "ggos": filled},
            )
        return filled
