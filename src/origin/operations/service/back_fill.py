"""Give each batch its operation, also those that earlier versions write during a rolling update."""

import logging
import time
from dataclasses import dataclass

from origin.db.engine import Database
from origin.operations.queries import back_fill as queries

log = logging.getLogger(__name__)

_SLICE = 1000
"""Batches in one transaction: few enough that nobody waits long for one of them."""
_RUN_S = 20.0
"""A run ends after this time; Beat's next sweep goes on."""


@dataclass(frozen=True)
class OperationBackFill:
    """Makes the operations of batches that have none."""

    database: Database

    def run(self) -> int:
        """Make operations until no batch lacks one, or the run's time is over.

        Any number of runs may work at the same time.

        :returns: How many this run made.
        """
        end = time.monotonic() + _RUN_S
        made = 0
        while time.monotonic() < end:
            with self.database.transaction() as session:
                found = queries.make_operations(session, _SLICE)
            made += found
            if found < _SLICE:
                break
        if made:
            log.info(
                "Made the operations of %s batches",
                made,
                extra={"event": "operations.back_filled", "operations": made},
            )
        return made
