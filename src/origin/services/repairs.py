"""Mends, of what reconciliation has found, what is safe to mend; never guesses.

Two things are: a stuck batch is taken up at once; and a compose that was rolled back here, and
stands on the ledger as it was, part for part, is done here, too. All else is an operator's.
"""

import logging
from typing import Any

from sqlalchemy import Row, select

from origin.db import walks
from origin.db.batch_queue import note
from origin.db.ledger import complete_batches, make_due, redo_batch
from origin.db.models import Batch, Ggo, LedgerDifference
from origin.domain.keys import settlement_address
from origin.domain.reconciliation import Kind
from origin.domain.settlement import Next
from origin.runtime import Runtime

log = logging.getLogger(__name__)


def repair_all(runtime: Runtime) -> int:
    """Mend what can be mended of the differences that are open.

    :returns: how many were.
    :raises PeerError: the ledger can't be asked now.
    """
    with runtime.database.reading() as session:
        found = walks.open_differences(session)
    return sum(_repair(runtime, each) for each in found)


def _repair(runtime: Runtime, difference: LedgerDifference) -> bool:
    if difference.kind == Kind.STUCK_BATCH.value and difference.batch_id is not None:
        done = _take_up(runtime, difference.batch_id)
    elif difference.kind == Kind.SPENT_THERE.value:
        done = _do_again(runtime, difference)
    else:
        return False
    if done is None:
        return False
    with runtime.database.transaction() as session:
        walks.note_repair(session, difference.id, done)
    log.warning(
        "Repaired: %s",
        done,
        extra={"event": "reconcile.repaired", "kind": difference.kind, "ggo_id": difference.ggo_id},
    )
    return True


def _take_up(runtime: Runtime, batch_id: int) -> str | None:
    with runtime.database.transaction() as session:
        if not make_due(session, batch_id):
            return None
    runtime.hints.batches_due()
    return f"batch {batch_id} is due at once"


def _do_again(runtime: Runtime, difference: LedgerDifference) -> str | None:
    """Commit a declined batch that the ledger has, to the last part, as it was composed."""
    record = runtime.ledger.ggo_record(difference.address)
    if record is None or record.following is None:
        return None
    with runtime.database.reading() as session:
        declined = session.execute(
            select(Batch.id, Batch.undone, Ggo.address)
            .join(Ggo, Ggo.id == Batch.ggo_id)
            .where(
                Batch.ggo_id == difference.ggo_id,
                Batch.state == "DECLINED",
                Batch.undone.is_not(None),
            )
            .order_by(Batch.id)
        ).all()
    matching = [
        batch
        for batch in declined
        if _leads_to(batch.undone) == record.following and _parts_stand(runtime, batch)
    ]
    # Two that would: which of them was it? Keys are never used twice, so a split can't be both.
    if len(matching) != 1:
        return None
    [batch] = matching
    with runtime.database.transaction() as session:
        if not redo_batch(session, batch.id):
            return None
        complete_batches(session, [batch.id])
        note(session, [(batch.id, "repaired", "the ledger has it: committed here, too")])
    return f"batch {batch.id}, declined before, is committed"


def _leads_to(undone: dict[str, Any]) -> Next:
    if undone["retire_address"] is not None:
        return Next("RETIRE", frozenset([settlement_address(undone["retire_address"])]))
    return Next("SPLIT", frozenset(part["address"] for part in undone["parts"]))


def _parts_stand(runtime: Runtime, batch: Row[Any]) -> bool:
    """Whether the ledger has each part, with its amount, retired where it was to be."""
    undone = batch.undone
    if undone["retire_address"] is not None:
        settled = runtime.ledger.settled(settlement_address(undone["retire_address"]))
        return batch.address in (settled or {})
    for part in undone["parts"]:
        record = runtime.ledger.ggo_record(part["address"])
        if record is None or record.amount != part["amount"] or record.origin != batch.address:
            return False
        retired_to = part["retire_address"]
        wanted = settlement_address(retired_to) if retired_to else None
        spent = record.following
        if wanted is not None and spent != Next("RETIRE", frozenset([wanted])):
            return False
    return True
