"""The kinds of differences between the database and the ledger."""

from dataclasses import dataclass
from enum import StrEnum

from origin.batches.rules.ledger_state import LedgerNext


class DifferenceKind(StrEnum):
    """What differs. The values stand in the database and in metrics."""

    NOT_ON_LEDGER = "not_on_ledger"
    """In the database; nothing is at its address on the ledger."""
    NOT_HERE = "not_here"
    """The ledger's split names a part that the database does not have."""
    MISSING_REMAINDER = "missing_remainder"
    """The parts in the database do not sum to the amount of their source."""
    SPENT_THERE = "spent_there"
    """Unspent in the database, spent on the ledger."""
    UNSPENT_THERE = "unspent_there"
    """Split or retired in the database, unspent on the ledger."""
    SPENT_OTHERWISE = "spent_otherwise"
    """Spent in both, but not for the same."""
    SPENT_ELSEWHERE = "spent_elsewhere"
    """Blocked in the database: while a batch was under way, another operation spent it on the
    ledger."""
    WRONG_AMOUNT = "wrong_amount"
    WRONG_FACTS = "wrong_facts"
    """Another period, sector, technology or fuel."""
    WRONG_ORIGIN = "wrong_origin"
    """Split from another GGO."""
    WRONG_OWNER = "wrong_owner"
    """The owner's keys do not give its address: someone else can spend it."""
    WRONG_SETTLEMENT = "wrong_settlement"
    """The settlement on the ledger is not what the database has as retired."""
    STRANDED = "stranded"
    """Locked, but no batch is under way that would unlock it."""
    NEVER_SENT = "never_sent"
    """Composed while the ledger was switched off, here or by the original service: the ledger has
    none of it."""
    UNREADABLE = "unreadable"
    """What the ledger has at its address is not a GGO."""
    STUCK_BATCH = "stuck_batch"
    """A batch has not ended within BATCH_RESUBMIT_AFTER."""


SPENT_ON_LEDGER_ALONE = frozenset({DifferenceKind.SPENT_THERE, DifferenceKind.SPENT_ELSEWHERE})
"""The kinds that are resolved if a declined batch of the GGO turns out to stand on the ledger."""


@dataclass(frozen=True)
class Difference:
    """One difference of a GGO, or of its batch. `detail` is for operators."""

    kind: DifferenceKind
    detail: str


def spent_elsewhere(became: LedgerNext | None) -> Difference:
    """Return the difference of a blocked GGO.

    :param became: What the GGO became on the ledger; None: not known yet.
    """
    detail = "nothing is known of that by now" if became is None else describe_next(became)
    return Difference(DifferenceKind.SPENT_ELSEWHERE, detail)


def not_on_ledger(amount: int) -> Difference:
    """Return the difference of a GGO at whose address the ledger has nothing.

    :param amount: Wh.
    """
    return Difference(DifferenceKind.NOT_ON_LEDGER, f"{amount} Wh")


def describe_next(became: LedgerNext) -> str:
    """Return what a GGO became on the ledger, for operators."""
    return f"there: {became.action} {' '.join(sorted(became.address_set))}"
