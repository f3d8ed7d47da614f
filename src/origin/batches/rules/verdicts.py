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
    SIGN = "sign the same parts anew"
    REPORT_ABSENT = (
        "ask again later, and report that the ledger has nothing at the source's address"
    )
    WAIT = "ask again later"
    ALERT = "ask again later, and tell the operators"


POST_HELD_UP_S = 600.0
"""How long a POST without an answer may be on its way to the ledger."""


def needs_state(status: BatchStatus | None, *, is_stuck: bool) -> bool:
    """Whether `judge` needs the ledger's state.

    :param status: None: the ledger gave none that the contract knows.
    :param is_stuck: The batch has not ended within BATCH_RESUBMIT_AFTER.
    """
    if status is BatchStatus.PENDING:
        return is_stuck
    return status in {BatchStatus.INVALID, BatchStatus.UNKNOWN}


def judge(
    status: BatchStatus, source: SpentBy | None, *, refused: bool, none_on_its_way: bool
) -> Verdict:
    """Return what to do with a batch.

    :param source: Who spent the source; None unless `needs_state`.
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


def may_be_executed(status: BatchStatus | None) -> bool:
    """Whether the ledger may still execute a batch, or has done so.

    :param status: None: the ledger gave none that the contract knows.
    """
    return status not in {BatchStatus.INVALID, BatchStatus.UNKNOWN}


def judge_adopted(
    status: BatchStatus, source: SpentBy, *, is_on_ledger: bool, is_stuck: bool
) -> Verdict:
    """Return what to do with a batch of the original service that is not signed here.

    Its bytes are unknown, so the state of its source decides before its status does. A batch that is
    signed anew has the same parts: if the original's arrives as well, the ledger executes one of the
    two, and the state shows these parts. So signing anew is safe whatever became of the original's.

    :param status: Of the batch that the original posted. UNKNOWN: the ledger does not know it, or
        the original knew of no POST.
    :param source: Who spent the source, by a state that was read after an INVALID status.
    :param is_on_ledger: Whether the ledger has something at the source's address.
    :param is_stuck: The batch has not ended within BATCH_RESUBMIT_AFTER of its adoption.
    """
    if source is SpentBy.THIS_BATCH:
        return Verdict.COMPLETE
    if source is SpentBy.CONTRADICTION:
        return Verdict.ALERT
    if source is SpentBy.ANOTHER_OPERATION:
        return Verdict.DECLINE_SPENT
    if status is BatchStatus.INVALID:
        return Verdict.DECLINE
    if not is_on_ledger:
        # Nothing could spend it. The issuing body may not have published it yet, or never will.
        return Verdict.REPORT_ABSENT
    if status is BatchStatus.UNKNOWN:
        return Verdict.SIGN
    if not is_stuck:
        return Verdict.WAIT
    # Committed, and the source unspent: this ledger is not the one that the original asked.
    return Verdict.SIGN if status is BatchStatus.PENDING else Verdict.ALERT
