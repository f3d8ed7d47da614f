"""What a ledger's word means for a batch (contract: peers, The ledger; domain, Batch).

A batch is rolled back only when the ledger has refused it and the ledger's state shows the
source unspent. Time passing, a lost answer, or UNKNOWN are no refusals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class BatchStatus(Enum):
    """What the ledger says of a batch."""

    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"
    COMMITTED = "COMMITTED"
    INVALID = "INVALID"


class Spent(Enum):
    """What the ledger's state says of a batch's source GGO."""

    NOT = "not"
    BY_THIS_BATCH = "by this batch"
    OTHERWISE = "otherwise"


class Verdict(Enum):
    """What to do with a batch."""

    COMPLETE = "complete"
    DECLINE = "decline"
    POST = "post the same bytes"
    WAIT = "ask again later"
    ALERT = "ask again later, and tell the operators"


@dataclass(frozen=True)
class Next:
    """What the ledger's state says that a GGO was turned into."""

    action: str
    addresses: frozenset[str]


def spent(following: Next | None, targets: Sequence[str], settlement: str | None) -> Spent:
    """Who spent a source.

    :param following: The `next` of the source in the ledger's state; None where it has none, or
        where there is nothing at its address.
    :param targets: The addresses of the batch's split, if it splits.
    :param settlement: The address of the settlement that a whole GGO is retired to.
    """
    if following is None:
        return Spent.NOT
    if settlement is not None:
        ours = Next("RETIRE", frozenset([settlement]))
    else:
        ours = Next("SPLIT", frozenset(targets))
    return Spent.BY_THIS_BATCH if following == ours else Spent.OTHERWISE


def needs_state(status: BatchStatus | None) -> bool:
    """Whether the ledger's state must be asked before `judge` can decide."""
    return status in {BatchStatus.INVALID, BatchStatus.UNKNOWN}


def judge(status: BatchStatus, source: Spent | None, *, refused: bool) -> Verdict:
    """What to do with a batch of which the ledger says this.

    :param source: Needed where `needs_state` says so.
    :param refused: Every POST of the batch was answered with a lasting refusal.
    """
    if status is BatchStatus.COMMITTED:
        return Verdict.COMPLETE
    if status is BatchStatus.PENDING:
        return Verdict.WAIT
    assert source is not None
    if source is Spent.BY_THIS_BATCH:
        return Verdict.COMPLETE
    if source is Spent.OTHERWISE:
        return Verdict.ALERT
    if status is BatchStatus.INVALID or refused:
        return Verdict.DECLINE
    return Verdict.POST
