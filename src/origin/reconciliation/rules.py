"""How a GGO in the database may differ from the ledger's (contract: domain, The ledger's rules)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from origin.batches.rules.differences import (
    Difference,
    DifferenceKind,
    describe_next,
    not_on_ledger,
    spent_elsewhere,
)
from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement


@dataclass(frozen=True)
class Holding:
    """A GGO in the database that no batch under way concerns.

    :ivar amount: Wh.
    :ivar begin: With a time zone, as `end`.
    :ivar parts: Wh by address of the parts it was split into.
    :ivar parent_address: The address of the GGO it is a part of; None: it was issued.
    :ivar settlement: The address of the settlement, if it is retired.
    :ivar retired_alongside: Wh by address of all GGOs that the database has as retired to the same
        measurement, in flight included.
    :ivar key_holds: Whether the owner's keys give its address.
    :ivar never_sent: It is the source or a part of a batch that was never sent to the ledger.
    :ivar spent_elsewhere: It is blocked: another operation spent it on the ledger.
    """

    id: int
    address: str
    amount: int
    begin: datetime
    end: datetime
    sector: str
    technology_code: str
    fuel_code: str
    stored: bool
    retired: bool
    locked: bool
    parts: Mapping[str, int]
    parent_address: str | None
    settlement: str | None
    retired_alongside: Mapping[str, int]
    key_holds: bool
    never_sent: bool = False
    spent_elsewhere: bool = False


def differences(
    holding: Holding, on_ledger: LedgerGgo | None, settlement: LedgerSettlement | None
) -> list[Difference]:
    """Return all differences of a GGO.

    :param on_ledger: What the ledger has at the GGO's address; None: nothing.
    :param settlement: The settlement that the GGO is retired to; None: the ledger has none.
    """
    found = list(_inconsistencies(holding))
    if holding.never_sent:
        return [*found, Difference(DifferenceKind.NEVER_SENT, f"{holding.amount} Wh")]
    if holding.spent_elsewhere:
        # Whatever the ledger says by now: it stays blocked until an operator repairs it.
        found.append(spent_elsewhere(None if on_ledger is None else on_ledger.next))
    if on_ledger is None:
        return [*found, not_on_ledger(holding.amount)]
    return [
        *found,
        *_facts(holding, on_ledger),
        *_spending(holding, on_ledger),
        *_settlement(holding, on_ledger, settlement),
    ]


def _inconsistencies(holding: Holding) -> Iterator[Difference]:
    if holding.locked and not holding.spent_elsewhere:
        yield Difference(DifferenceKind.STRANDED, "locked, and no batch is under way")
    if not holding.key_holds:
        yield Difference(DifferenceKind.WRONG_OWNER, "the owner's keys give another address")
    if _is_split(holding) and sum(holding.parts.values()) != holding.amount:
        detail = f"the parts hold {sum(holding.parts.values())} of {holding.amount} Wh"
        yield Difference(DifferenceKind.MISSING_REMAINDER, detail)


def _is_split(holding: Holding) -> bool:
    return not holding.stored and not holding.retired and not holding.spent_elsewhere


def _facts(holding: Holding, on_ledger: LedgerGgo) -> Iterator[Difference]:
    if holding.amount != on_ledger.amount:
        detail = f"{holding.amount} Wh here, {on_ledger.amount} Wh there"
        yield Difference(DifferenceKind.WRONG_AMOUNT, detail)
    names = ("begin", "end", "sector", "technology_code", "fuel_code")
    for name in names:
        here, there = getattr(holding, name), getattr(on_ledger, name)
        if here != there:
            yield Difference(DifferenceKind.WRONG_FACTS, f"{name} is {here} here, {there} there")
            break
    if holding.parent_address is not None and holding.parent_address != on_ledger.origin:
        yield Difference(DifferenceKind.WRONG_ORIGIN, f"there it comes from {on_ledger.origin}")


def _expected(holding: Holding) -> LedgerNext | None:
    if _is_split(holding):
        return LedgerNext("SPLIT", tuple(holding.parts))
    if holding.retired and holding.settlement is not None:
        return LedgerNext("RETIRE", (holding.settlement,))
    return None


def _spending(holding: Holding, on_ledger: LedgerGgo) -> Iterator[Difference]:
    here, there = _expected(holding), on_ledger.next
    if here == there or holding.spent_elsewhere:
        return
    if there is None:
        yield Difference(DifferenceKind.UNSPENT_THERE, "spent here alone")
    elif here is None:
        yield Difference(DifferenceKind.SPENT_THERE, describe_next(there))
    elif here.action == there.action == "SPLIT" and here.address_set < there.address_set:
        for address in sorted(there.address_set - here.address_set):
            yield Difference(DifferenceKind.NOT_HERE, f"a part is at {address}")
    else:
        yield Difference(DifferenceKind.SPENT_OTHERWISE, describe_next(there))


def _settlement(
    holding: Holding, on_ledger: LedgerGgo, settlement: LedgerSettlement | None
) -> Iterator[Difference]:
    if not holding.retired or on_ledger.next != _expected(holding):
        return
    settled = {} if settlement is None else settlement.amounts
    there = settled.get(holding.address)
    if there != holding.amount:
        detail = f"{holding.amount} Wh retired here, {there or 0} Wh settled there"
        yield Difference(DifferenceKind.WRONG_SETTLEMENT, detail)
    unknown = sorted(settled.keys() - holding.retired_alongside.keys())
    if unknown:
        detail = f"settled there alone: {' '.join(unknown)}"
        yield Difference(DifferenceKind.WRONG_SETTLEMENT, detail)
