"""Repairs the differences that are safe to repair: a stuck batch is made due at once.

A declined batch that the ledger has after all is done again by every reconciliation run
(`origin.batches.service.redo`). All other differences are left to an operator.
"""

import logging
from dataclasses import dataclass

from origin.batches.queries.differences import note_repair, open_differences
from origin.batches.queries.outcomes import make_due
from origin.batches.rules.differences import DifferenceKind
from origin.db.engine import Database
from origin.db.models import LedgerDifference
from origin.shared.wakeups import Wakeups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repairs:
    """Repairs differences that are safe to repair."""

    database: Database
    wakeups: Wakeups

    def repair_all(self) -> int:
        """Repair those of the open differences that are safe to repair.

        :returns: how many were repaired.
        """
        with self.database.reading() as session:
            found = open_differences(session, never_sent=0)
        return sum(self._repair(each) for each in found)

    def _repair(self, difference: LedgerDifference) -> bool:
        if difference.kind != DifferenceKind.STUCK_BATCH.value or difference.batch_id is None:
            return False
        repair = f"batch {difference.batch_id} is due at once"
        with self.database.transaction() as session:
            if not make_due(session, difference.batch_id):
                return False
            note_repair(session, difference.id, repair)
        self.wakeups.batches_due()
        log.warning(
            "Repaired: %s",
            repair,
            extra={
                "event": "reconcile.repaired",
                "kind": difference.kind,
                "ggo_id": difference.ggo_id,
            },
        )
        return True
