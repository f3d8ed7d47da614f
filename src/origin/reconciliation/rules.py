"""How a GGO here and its record on the ledger may differ (contract: domain, The ledger's rules).

Pure rules: what this service holds, and what the ledger's state says, give the differences.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from origin.batches.rules.differences import (
    Difference,
    DifferenceKind,
    describe_next,
    spent_elsewhere,
)
from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement


@dataclass(frozen=True)
class Holding:
    """A GGO as it stands here, with no batch under way that concerns it.

    :param parts: Wh by address of what it was split into.
    :param parent_address: Of the GGO it was split from; None for an issued one.
    :param settlement: The address of the settlement it is retired to.
    :param retired_alongside: Wh by address of all that is retired to the same measurement here,
        in flight included.
    :param key_holds: Whether the owner's keys give its address.
    :param never_sent: It is the source or a part of a batch that was never sent to the ledger.
    :param spent_elsewhere: Whether it is blocked, as another operation spent it on the ledger.
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
    holding: Holding, record: LedgerGgo | None, settlement: LedgerSettlement | None
) -> list[Difference]:
    """All that differs.

    :param record: What is at the GGO's address; None: nothing.
    :param settlement: The settlement that it is retired to; None: there is none.
    """
    found = list(_here(holding))
    if holding.never_sent:
        return [*found, Difference(DifferenceKind.NEVER_SENT, f"{holding.amount} Wh")]
    if holding.spent_elsewhere:
        # Whatever the ledger says by now: it stays blocked until it is mended.
        found.append(spent_elsewhere(None if record is None else record.next))
    if record is None:
        return [*found, Difference(DifferenceKind.NOT_ON_LEDGER, f"{holding.amount} Wh")]
    return [
        *found,
        *_facts(holding, record),
        *_spending(holding, record),
        *_settlement(holding, record, settlement),
    ]


def _here(holding: Holding) -> Iterator[Difference]:
    if holding.locked and not holding.spent_elsewhere:
        yield Difference(DifferenceKind.STRANDED, "locked, and no batch is under way")
    if not holding.key_holds:
        yield Difference(DifferenceKind.WRONG_OWNER, "the owner's keys give another address")
    if _is_split(holding) and sum(holding.parts.values()) != holding.amount:
        told = f"the parts hold {sum(holding.parts.values())} of {holding.amount} Wh"
        yield Difference(DifferenceKind.MISSING_REMAINDER, told)


def _is_split(holding: Holding) -> bool:
    return not holding.stored and not holding.retired and not holding.spent_elsewhere


def _facts(holding: Holding, record: LedgerGgo) -> Iterator[Difference]:
    if holding.amount != record.amount:
        told = f"{holding.amount} Wh here, {record.amount} Wh there"
        yield Difference(DifferenceKind.WRONG_AMOUNT, told)
    names = ("begin", "end", "sector", "technology_code", "fuel_code")
    for name in names:
        here, there = getattr(holding, name), getattr(record, name)
        if here != there:
            yield Difference(DifferenceKind.WRONG_FACTS, f"{name} is {here} here, {there} there")
            break
    if holding.parent_address is not None and holding.parent_address != record.origin:
        yield Difference(DifferenceKind.WRONG_ORIGIN, f"there it comes from {record.origin}")


def _expected(holding: Holding) -> LedgerNext | None:
    if _is_split(holding):
        return LedgerNext("SPLIT", tuple(holding.parts))
    if holding.retired and holding.settlement is not None:
        return LedgerNext("RETIRE", (holding.settlement,))
    return None


def _spending(holding: Holding, record: LedgerGgo) -> Iterator[Difference]:
    here, there = _expected(holding), record.next
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
    holding: Holding, record: LedgerGgo, settlement: LedgerSettlement | None
) -> Iterator[Difference]:
    if not holding.retired or record.next != _expected(holding):
        return
    settled = {} if settlement is None else settlement.amounts
    there = settled.get(holding.address)
    if there != holding.amount:
        told = f"{holding.amount} Wh retired here, {there or 0} Wh settled there"
        yield Difference(DifferenceKind.WRONG_SETTLEMENT, told)
    unknown = sorted(settled.keys() - holding.retired_alongside.keys())
    if unknown:
        told = f"settled there alone: {' '.join(unknown)}"
        yield Difference(DifferenceKind.WRONG_SETTLEMENT, told)
