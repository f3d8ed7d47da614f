"""Mends, of what reconciliation has found, what is safe to mend; never guesses.

A stuck batch is taken up at once. A declined batch that the ledger has is no matter of repairs:
reconciliation does it again by itself (`origin.batches.service.redo`). All else is an operator's.
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
    """Repairs differences where that is safe."""

    database: Database
    wakeups: Wakeups

    def repair_all(self) -> int:
        """Mend what can be mended of the differences that are open.

        :returns: how many were.
        """
        with self.database.reading() as session:
            found = open_differences(session)
        return sum(self._repair(each) for each in found)

    def _repair(self, difference: LedgerDifference) -> bool:
        if difference.kind != DifferenceKind.STUCK_BATCH.value or difference.batch_id is None:
            return False
        done = f"batch {difference.batch_id} is due at once"
        with self.database.transaction() as session:
            if not make_due(session, difference.batch_id):
                return False
            note_repair(session, difference.id, done)
        self.wakeups.batches_due()
        log.warning(
            "Repaired: %s",
            done,
            extra={
                "event": "reconcile.repaired",
                "kind": difference.kind,
                "ggo_id": difference.ggo_id,
            },
        )
        return True
