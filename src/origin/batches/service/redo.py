"""Does a declined batch again where the ledger turns out to have it (contract: peers, The ledger).

A POST may be held up for longer than anyone would think, and be executed after its batch was undone.
"""

import logging
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.batches.queries.differences import resolve_spent_on_ledger
from origin.batches.queries.operations import declined_operations
from origin.batches.queries.outcomes import complete_batches, redo_batch
from origin.batches.queries.queue import note
from origin.batches.rules.ledger_state import LedgerGgo, LedgerState
from origin.batches.rules.standing import spent_by
from origin.batches.rules.verdicts import SpentBy
from origin.db.engine import Database
from origin.telemetry.metrics import BATCHES_ENDED
from origin.webhooks.service.outbox import Outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchRedo:
    """Completes declined batches that the ledger has committed after all."""

    database: Database
    outbox: Outbox

    def find_standing(
        self, source_id: int, source: LedgerGgo | None, state: LedgerState
    ) -> int | None:
        """Which of a GGO's declined batches stands on the ledger, part for part; None if none does.

        Of two that retired the whole to the same measurement either may be meant, and it is the later:
        they are the same but for their bytes. Of two splits it is one, as keys are never used twice.

        :param source: The GGO in the ledger's state.
        :raises PeerError: the ledger can't say now.
        """
        with self.database.reading() as session:
            declined = declined_operations(session, source_id)
        for batch_id, operation in declined.items():
            if spent_by(operation, source, state) is SpentBy.THIS_BATCH:
                return batch_id
        return None

    def redo_if_standing(
        self, source_id: int, source: LedgerGgo | None, state: LedgerState
    ) -> bool:
        """Do again whichever of a GGO's declined batches stands on the ledger.

        :returns: whether one was done again.
        :raises PeerError: the ledger can't say now.
        """
        batch_id = self.find_standing(source_id, source, state)
        if batch_id is None:
            return False
        with self.outbox.transaction() as session:
            return redo(session, batch_id, source_id)


def redo(session: Session, batch_id: int, source_id: int) -> bool:
    """Do a declined batch again, as it was composed, and complete it: one transaction with `session`.

    Call it in `deliveries.transaction`: the parts' owners are told by webhook.

    :returns: whether the source was free for it; else nothing was done.
    """
    if not redo_batch(session, batch_id):
        return False
    complete_batches(session, [batch_id])
    done = f"batch {batch_id}, declined before, is completed: the ledger has it"
    note(session, [(batch_id, "done again", "the ledger has it, part for part")])
    resolve_spent_on_ledger(session, source_id, done)
    BATCHES_ENDED.labels("COMPLETED").inc()
    log.warning(
        "A declined batch is completed after all: the ledger has it, part for part",
        extra={"event": "batch.done_again", "batch_id": batch_id, "ggo_id": source_id},
    )
    return True
