"""What the ledger's status and state mean for a batch (contract: peers, The ledger; domain, Batch).

A batch is declined and rolled back only if the ledger has refused it and the ledger's state shows
the source unspent. Time passing, a lost answer and UNKNOWN are no refusals. If the state shows that
another operation spent the source, the ledger can never commit the batch: it is declined, and the
source is blocked. No batch is declined while a POST of it may still be on its way.
"""

from enum import Enum


class BatchStatus(Enum):
    """The ledger's status of a batch."""

    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"
    COMMITTED = "COMMITTED"
    INVALID = "INVALID"


class SpentBy(Enum):
    """Who spent a batch's source GGO, by the ledger's state."""

    NOBODY = "nobody"
    THIS_BATCH = "this batch"
    ANOTHER_OPERATION = "another operation"
    CONTRADICTION = "contradiction"
    """The source is split, but a part of that split is not there: the state contradicts itself."""


class Verdict(Enum):
    """What to do with a batch."""

    COMPLETE = "complete"
    DECLINE = "decline"
    DECLINE_SPENT = "decline, and keep the source blocked"
    POST = "post the same bytes"
    WAIT = "ask again later"
    ALERT = "ask again later, and tell the operators"


POST_HELD_UP_S = 600.0
"""How long a POST without an answer may be on its way to the ledger."""


def needs_state(status: BatchStatus | None, *, is_stuck: bool) -> bool:
    """Whether `judge` needs the ledger's state.

    :param is_stuck: The batch has not ended within BATCH_RESUBMIT_AFTER.
    """
    if status is BatchStatus.PENDING:
        return is_stuck
    return status in {BatchStatus.INVALID, BatchStatus.UNKNOWN}


def judge(
    status: BatchStatus, source: SpentBy | None, *, refused: bool, none_on_its_way: bool
) -> Verdict:
    """Return what to do with a batch.

    :param status: The ledger's; None: it gave none that is known.
    :param source: None unless `needs_state`.
    :param refused: Every POST of the batch was answered with a lasting refusal.
    :param none_on_its_way: Every POST of the batch has an answer, or began `POST_HELD_UP_S` ago.
    """
    if status is BatchStatus.COMMITTED:
        return Verdict.COMPLETE
    if source is None:
        assert status is BatchStatus.PENDING
        return Verdict.WAIT
    if source is SpentBy.THIS_BATCH:
        return Verdict.COMPLETE
    if source is SpentBy.CONTRADICTION:
        return Verdict.ALERT
    if source is SpentBy.ANOTHER_OPERATION:
        return Verdict.DECLINE_SPENT if none_on_its_way else Verdict.WAIT
    if status is BatchStatus.PENDING:
        return Verdict.WAIT
    if status is BatchStatus.INVALID or refused:
        return Verdict.DECLINE if none_on_its_way else Verdict.WAIT
    return Verdict.POST
