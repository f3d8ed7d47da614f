"""Whether a spending stands on the ledger, part for part (contract: peers, The ledger).

This rule decides about batches under way, declined batches that the ledger has after all, and
batches of a restored database (`origin.recovery`).

Equal addresses prove nothing. After a restore from a backup the same key indexes are handed out
again, and the ledger may hold another split to the same addresses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement, LedgerState
from origin.batches.rules.verdicts import SpentBy
from origin.keys.derivation import settlement_address


@dataclass(frozen=True)
class Target:
    """A part of a split.

    :ivar amount: Wh.
    :ivar retired_to: The address of the measurement that the part is retired to, if it is.
    """

    address: str
    amount: int
    retired_to: str | None = None


@dataclass(frozen=True)
class Spending:
    """What a batch does to its source: it splits it, or retires it whole.

    :ivar source: The source's address.
    :ivar amount: Wh of the source.
    :ivar retired_to: The address of the measurement that the whole source is retired to.
    :ivar targets: The parts of the split, if there is one.
    """

    source: str
    amount: int
    retired_to: str | None
    targets: Sequence[Target]

    @property
    def leads_to(self) -> LedgerNext:
        """What the source becomes on the ledger by this spending."""
        if self.retired_to is not None:
            return _retired(self.retired_to)
        return LedgerNext("SPLIT", tuple(target.address for target in self.targets))


def spent_by(
    spending: Spending,
    source: LedgerGgo | None,
    state: LedgerState,
    *,
    allow_spent_parts: bool = False,
) -> SpentBy:
    """Return who spent the source of a spending.

    :param source: The source in the ledger's state; None: nothing is at its address.
    :param allow_spent_parts: Whether a part that the spending does not retire may be spent on the
        ledger by more than a split. The ledger does not tell a later retirement from one in the
        split's own batch, which would be another batch. So only recovery allows it, as it stores
        what the part became; others would store the part as unspent.
    :raises PeerError: as `state`.
    :raises ValueError: the spending retires to text that is not an address: nothing can be decided.
    """
    if source is None or source.next is None:
        return SpentBy.NOBODY
    if source.next != spending.leads_to or source.amount != spending.amount:
        return SpentBy.ANOTHER_OPERATION

    @cache
    def settlement(measurement: str) -> LedgerSettlement | None:
        return state.read_settlement(settlement_address(measurement))

    if spending.retired_to is not None:
        whole = Target(spending.source, spending.amount, spending.retired_to)
        return SpentBy.THIS_BATCH if _is_settled(whole, settlement) else SpentBy.ANOTHER_OPERATION
    for target in spending.targets:
        part = state.read_ggo(target.address)
        if part is None:
            # The ledger's own split made it: the two reads are of two moments.
            return SpentBy.CONTRADICTION
        expected = replace(
            # Period and codes of the source *on the ledger*: if ours differ, that is a difference
            # of its own, and says nothing about who made the split.
            source,
            address=target.address,
            origin=source.address,
            amount=target.amount,
            next=_expected_next(target, part, allow_spent_parts=allow_spent_parts),
        )
        if part != expected or not _is_settled(target, settlement):
            return SpentBy.ANOTHER_OPERATION
    return SpentBy.THIS_BATCH


def _retired(measurement: str) -> LedgerNext:
    return LedgerNext("RETIRE", (settlement_address(measurement),))


def _expected_next(
    target: Target, part: LedgerGgo, *, allow_spent_parts: bool
) -> LedgerNext | None:
    """Return what the ledger may say that a part of this split became.

    A part that the spending does not retire may have been split since, by a batch that a restored
    database forgot.
    """
    if target.retired_to is not None:
        return _retired(target.retired_to)
    return part.next if allow_spent_parts or part.action == "SPLIT" else None


def _is_settled(target: Target, settlement: Callable[[str], LedgerSettlement | None]) -> bool:
    """Whether the settlement has this GGO with its amount; True if the target is not retired."""
    if target.retired_to is None:
        return True
    found = settlement(target.retired_to)
    if found is None or found.measurement != target.retired_to:
        return False
    return found.amounts.get(target.address) == target.amount
