"""How a GGO here and its record on the ledger may differ (contract: domain, The ledger's rules).

Pure rules: what this service holds, and what the ledger's state says, give the differences.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from origin.batches.rules.verdicts import Next


class Kind(StrEnum):
    """What differs. The values stand in the database and in metrics."""

    NOT_ON_LEDGER = "not_on_ledger"
    """Here, but nothing is at its address there."""
    NOT_HERE = "not_here"
    """There: the ledger's split names a part that isn't here."""
    MISSING_REMAINDER = "missing_remainder"
    """The parts here don't sum to what was split."""
    SPENT_THERE = "spent_there"
    """Unspent here, spent on the ledger."""
    UNSPENT_THERE = "unspent_there"
    """Split or retired here, unspent on the ledger."""
    SPENT_OTHERWISE = "spent_otherwise"
    """Spent on both sides, not for the same."""
    SPENT_ELSEWHERE = "spent_elsewhere"
    """Blocked here: an operation that isn't ours spent it on the ledger while a batch was under way."""
    WRONG_AMOUNT = "wrong_amount"
    WRONG_FACTS = "wrong_facts"
    """Another period, sector, technology or fuel."""
    WRONG_ORIGIN = "wrong_origin"
    """Split from another GGO."""
    WRONG_OWNER = "wrong_owner"
    """The owner's keys don't give its address: someone else can spend it."""
    WRONG_SETTLEMENT = "wrong_settlement"
    """The settlement on the ledger isn't what is retired here."""
    STRANDED = "stranded"
    """Locked here, and no batch is under way that would unlock it."""
    NEVER_SENT = "never_sent"
    """Composed while the ledger was switched off (LEDGER_ENABLED=0): the ledger can't know of it."""
    UNREADABLE = "unreadable"
    """What stands at its address on the ledger isn't a GGO."""
    STUCK_BATCH = "stuck_batch"
    """A batch that hasn't ended for BATCH_RESUBMIT_AFTER."""


SPENT_ALONE_THERE = frozenset({Kind.SPENT_THERE, Kind.SPENT_ELSEWHERE})
"""Where a batch that was declined here may turn out to stand there."""


@dataclass(frozen=True)
class Difference:
    """One difference of the GGO, or the batch of the GGO, that was looked at."""

    kind: Kind
    detail: str


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


@dataclass(frozen=True)
class Record:
    """A GGO as the ledger's state has it."""

    origin: str
    amount: int
    begin: datetime
    end: datetime
    sector: str
    technology_code: str
    fuel_code: str
    following: Next | None


def differences(
    holding: Holding, record: Record | None, settled: Mapping[str, int] | None
) -> list[Difference]:
    """All that differs.

    :param record: What is at the GGO's address; None: nothing.
    :param settled: Wh by GGO in the settlement that it is retired to; None: there is none.
    """
    found = list(_here(holding))
    if holding.never_sent:
        return [*found, Difference(Kind.NEVER_SENT, f"{holding.amount} Wh")]
    if holding.spent_elsewhere:
        # Whatever the ledger says by now: it stays blocked until it is mended.
        found.append(spent_elsewhere(None if record is None else record.following))
    if record is None:
        return [*found, Difference(Kind.NOT_ON_LEDGER, f"{holding.amount} Wh")]
    return [
        *found,
        *_facts(holding, record),
        *_spending(holding, record),
        *_settlement(holding, record, settled),
    ]


def _here(holding: Holding) -> Iterator[Difference]:
    if holding.locked and not holding.spent_elsewhere:
        yield Difference(Kind.STRANDED, "locked, and no batch is under way")
    if not holding.key_holds:
        yield Difference(Kind.WRONG_OWNER, "the owner's keys give another address")
    if _is_split(holding) and sum(holding.parts.values()) != holding.amount:
        told = f"the parts hold {sum(holding.parts.values())} of {holding.amount} Wh"
        yield Difference(Kind.MISSING_REMAINDER, told)


def _is_split(holding: Holding) -> bool:
    return not holding.stored and not holding.retired and not holding.spent_elsewhere


def _facts(holding: Holding, record: Record) -> Iterator[Difference]:
    if holding.amount != record.amount:
        told = f"{holding.amount} Wh here, {record.amount} Wh there"
        yield Difference(Kind.WRONG_AMOUNT, told)
    names = ("begin", "end", "sector", "technology_code", "fuel_code")
    for name in names:
        here, there = getattr(holding, name), getattr(record, name)
        if here != there:
            yield Difference(Kind.WRONG_FACTS, f"{name} is {here} here, {there} there")
            break
    if holding.parent_address is not None and holding.parent_address != record.origin:
        yield Difference(Kind.WRONG_ORIGIN, f"there it comes from {record.origin}")


def _expected(holding: Holding) -> Next | None:
    if _is_split(holding):
        return Next("SPLIT", frozenset(holding.parts))
    if holding.retired and holding.settlement is not None:
        return Next("RETIRE", frozenset([holding.settlement]))
    return None


def _spending(holding: Holding, record: Record) -> Iterator[Difference]:
    here, there = _expected(holding), record.following
    if here == there or holding.spent_elsewhere:
        return
    if there is None:
        yield Difference(Kind.UNSPENT_THERE, "spent here alone")
    elif here is None:
        yield Difference(Kind.SPENT_THERE, _told(there))
    elif here.action == there.action == "SPLIT" and here.addresses < there.addresses:
        for address in sorted(there.addresses - here.addresses):
            yield Difference(Kind.NOT_HERE, f"a part is at {address}")
    else:
        yield Difference(Kind.SPENT_OTHERWISE, _told(there))


def spent_elsewhere(following: Next | None) -> Difference:
    """The difference of a GGO that is blocked here; and what it became there, where that is known."""
    told = "nothing is known of that by now" if following is None else _told(following)
    return Difference(Kind.SPENT_ELSEWHERE, told)


def _told(following: Next) -> str:
    return f"there: {following.action} {' '.join(sorted(following.addresses))}"


def _settlement(
    holding: Holding, record: Record, settled: Mapping[str, int] | None
) -> Iterator[Difference]:
    if not holding.retired or record.following != _expected(holding):
        return
    there = (settled or {}).get(holding.address)
    if there != holding.amount:
        told = f"{holding.amount} Wh retired here, {there or 0} Wh settled there"
        yield Difference(Kind.WRONG_SETTLEMENT, told)
    unknown = sorted((settled or {}).keys() - holding.retired_alongside.keys())
    if unknown:
        told = f"settled there alone: {' '.join(unknown)}"
        yield Difference(Kind.WRONG_SETTLEMENT, told)
