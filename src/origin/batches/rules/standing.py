"""Whether an operation stands on the ledger, part for part (contract: peers, The ledger).

The one rule for batches under way, for declined batches that the ledger has after all, and for
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
class Operation:
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
        """What the ledger says of the source once this operation stands there."""
        if self.retired_to is not None:
            return _retired(self.retired_to)
        return LedgerNext("SPLIT", tuple(target.address for target in self.targets))


def spent_by(
    operation: Operation,
    source: LedgerGgo | None,
    state: LedgerState,
    *,
    allow_later_retirements: bool = False,
) -> SpentBy:
    """Return who spent an operation's source.

    :param source: The source in the ledger's state; None: nothing is at its address.
    :param allow_later_retirements: Whether a part that the operation does not retire may be retired
        on the ledger. The ledger does not tell a later retirement from one in the split's own
        batch, which would be another batch. So only recovery allows it, as it stores the part as
        retired; others would store it as unspent.
    :raises PeerError: as `state`.
    :raises ValueError: the operation retires to text that is not an address: nothing can be decided.
    """
    if source is None or source.next is None:
        return SpentBy.NOBODY
    if source.next != operation.leads_to or source.amount != operation.amount:
        return SpentBy.ANOTHER_OPERATION

    @cache
    def settlement(measurement: str) -> LedgerSettlement | None:
        return state.read_settlement(settlement_address(measurement))

    if operation.retired_to is not None:
        whole = Target(operation.source, operation.amount, operation.retired_to)
        return SpentBy.THIS_BATCH if _is_settled(whole, settlement) else SpentBy.ANOTHER_OPERATION
    for target in operation.targets:
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
            next=_expected_next(target, part, allow_later_retirements=allow_later_retirements),
        )
        if part != expected or not _is_settled(target, settlement):
            return SpentBy.ANOTHER_OPERATION
    return SpentBy.THIS_BATCH


def _retired(measurement: str) -> LedgerNext:
    return LedgerNext("RETIRE", (settlement_address(measurement),))


def _expected_next(
    target: Target, part: LedgerGgo, *, allow_later_retirements: bool
) -> LedgerNext | None:
    """Return what the ledger may say that a part of this split became.

    A part that the operation does not retire may have been split since, by a batch that a restored
    database forgot.
    """
    if target.retired_to is not None:
        return _retired(target.retired_to)
    allowed = {"SPLIT", "RETIRE"} if allow_later_retirements else {"SPLIT"}
    return part.next if part.action in allowed else None


def _is_settled(target: Target, settlement: Callable[[str], LedgerSettlement | None]) -> bool:
    """Whether the settlement has this GGO with its amount; True if the target is not retired."""
    if target.retired_to is None:
        return True
    found = settlement(target.retired_to)
    if found is None or found.measurement != target.retired_to:
        return False
    return found.amounts.get(target.address) == target.amount
