"""Whether an operation stands on the ledger, part for part (contract: peers, The ledger).

Addresses alone prove nothing: after a restore from a backup the same key indexes are handed out
again, and the ledger may hold another split to the same addresses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from origin.batches.rules.verdicts import Next, Spent
from origin.keys.derivation import settlement_address
from origin.reconciliation.rules import Record


@dataclass(frozen=True)
class Settlement:
    """A settlement as the ledger's state has it: pairs of a GGO's address and its Wh."""

    measurement: str
    parts: Sequence[tuple[str, int]]


class LedgerState(Protocol):
    """What the ledger's state says; each call may raise a PeerError."""

    def ggo_record(self, address: str) -> Record | None:
        """The GGO at this address; None where nothing is there."""

    def settlement(self, address: str) -> Settlement | None:
        """The settlement at this address; None where nothing is there."""


@dataclass(frozen=True)
class Target:
    """A part of a split. `retired_to`: the address of the measurement, where it is retired."""

    address: str
    amount: int
    retired_to: str | None = None


@dataclass(frozen=True)
class Operation:
    """What a batch does to its source: it splits it, or retires it whole.

    :param retired_to: The address of the measurement that the whole source is retired to.
    :param targets: What the source is split into, if it is.
    """

    source: str
    amount: int
    retired_to: str | None
    targets: Sequence[Target]

    @property
    def leads_to(self) -> Next:
        """What the ledger says of the source once this operation stands there."""
        if self.retired_to is not None:
            return _retired(self.retired_to)
        return Next("SPLIT", frozenset(target.address for target in self.targets))


def spent(operation: Operation, source: Record | None, state: LedgerState) -> Spent:
    """Who spent an operation's source.

    :param source: The source in the ledger's state; None where nothing is at its address.
    :raises PeerError: as `state`.
    """
    if source is None or source.following is None:
        return Spent.NOT
    if source.following != operation.leads_to or source.amount != operation.amount:
        return Spent.OTHERWISE

    @cache
    def settlement(measurement: str) -> Settlement | None:
        return state.settlement(settlement_address(measurement))

    if operation.retired_to is not None:
        whole = Target(operation.source, operation.amount, operation.retired_to)
        return Spent.BY_THIS_BATCH if _is_settled(whole, settlement) else Spent.OTHERWISE
    for target in operation.targets:
        record = state.ggo_record(target.address)
        if record is None:
            # The ledger's own split made it: what was read is of two moments.
            return Spent.CONTRADICTORY
        stands = _is_part(target, record, operation.source, source)
        if not stands or not _is_settled(target, settlement):
            return Spent.OTHERWISE
    return Spent.BY_THIS_BATCH


def _retired(measurement: str) -> Next:
    return Next("RETIRE", frozenset([settlement_address(measurement)]))


def _is_part(target: Target, record: Record, source_address: str, source: Record) -> bool:
    """Whether this is the part that the split was to make, retired or left as it was to be.

    A part that was to be left may have been split since, by a batch that a restored database forgot.
    That it was retired can't be told from a retire in the split's own batch, which is another one.
    Its period and codes are those of the source *there*: where ours differ from the ledger's, that
    is a difference of its own, and says nothing about who made the split.
    """
    return record == Record(
        origin=source_address,
        amount=target.amount,
        begin=source.begin,
        end=source.end,
        sector=source.sector,
        technology_code=source.technology_code,
        fuel_code=source.fuel_code,
        following=_following(target, record),
    )


def _following(target: Target, record: Record) -> Next | None:
    """What the ledger may say that a part of this split was turned into."""
    if target.retired_to is not None:
        return _retired(target.retired_to)
    is_split = record.following is not None and record.following.action == "SPLIT"
    return record.following if is_split else None


def _is_settled(target: Target, settlement: Callable[[str], Settlement | None]) -> bool:
    """Whether the settlement has this GGO with its amount, once; True where none is wanted."""
    if target.retired_to is None:
        return True
    found = settlement(target.retired_to)
    if found is None or found.measurement != target.retired_to:
        return False
    amounts = [amount for address, amount in found.parts if address == target.address]
    return amounts == [target.amount]
