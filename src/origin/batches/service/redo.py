"""Does a declined batch again if the ledger has it after all (contract: peers, The ledger).

A POST may be held up for longer than assumed, and be executed after its batch was declined.
"""

import logging
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.batches.queries.differences import resolve_spent_on_ledger
from origin.batches.queries.outcomes import complete_batches, redo_batch
from origin.batches.queries.queue import add_events
from origin.batches.queries.spendings import declined_spendings
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
        """Return which of a GGO's declined batches stands on the ledger; None: none does.

        Two that retired the whole GGO to the same measurement differ in nothing but their bytes: of
        these the later one is returned. Of several splits at most one can stand, as no key index is
        handed out twice.

        :param source: The GGO in the ledger's state.
        :raises PeerError: the ledger can't say now.
        """
        with self.database.reading() as session:
            declined = declined_spendings(session, source_id)
        for batch_id, spending in declined.items():
            if spent_by(spending, source, state) is SpentBy.THIS_BATCH:
                return batch_id
        return None

    def redo_if_standing(
        self, source_id: int, source: LedgerGgo | None, state: LedgerState
    ) -> bool:
        """If one of a GGO's declined batches stands on the ledger, do it again.

        :returns: whether one was done again.
        :raises PeerError: the ledger can't say now.
        """
        batch_id = self.find_standing(source_id, source, state)
        if batch_id is None:
            return False
        with self.outbox.transaction() as session:
            return redo(session, batch_id, source_id)


def redo(session: Session, batch_id: int, source_id: int) -> bool:
    """Do a declined batch again, as it was composed, and complete it.

    :param session: Of `Outbox.transaction`, which announces the parts to their owners.
    :returns: whether the source was free for it; else nothing was done.
    """
    if not redo_batch(session, batch_id):
        return False
    complete_batches(session, [batch_id])
    add_events(session, [(batch_id, "done again", "the ledger has it, part for part")])
    repair = f"batch {batch_id}, declined before, is completed: the ledger has it"
    resolve_spent_on_ledger(session, source_id, repair)
    BATCHES_ENDED.labels("COMPLETED").inc()
    log.warning(
        "A declined batch is completed after all: the ledger has it, part for part",
        extra={"event": "batch.done_again", "batch_id": batch_id, "ggo_id": source_id},
    )
    return True
