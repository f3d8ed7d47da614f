"""What a database that fell back lacks, by the ledger's state (contract: peers, The ledger).

The ledger's state, and whose the addresses are, give what is to be restored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from origin.batches.rules.ledger_state import LedgerGgo, LedgerSettlement
from origin.batches.rules.standing import Spending, spent_by
from origin.batches.rules.verdicts import SpentBy
from origin.intake.rules.key_indexes import LOST_RECOVERIES


@dataclass(frozen=True)
class LedgerTree:
    """A GGO on the ledger and all that it became: a `LedgerState`, read beforehand.

    :ivar root: The GGO's address.
    :ivar ggos: By address.
    :ivar settlements: By address.
    :ivar unread: Addresses of GGOs that became something which could not be read.
    """

    root: str
    ggos: dict[str, LedgerGgo] = field(default_factory=dict)
    settlements: dict[str, LedgerSettlement] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def read_ggo(self, address: str) -> LedgerGgo | None:
        """Return the GGO at this address; None: the tree has none."""
        return self.ggos.get(address)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        """Return the settlement at this address; None: the tree has none."""
        return self.settlements.get(address)

    def retirements(self) -> Iterator[tuple[LedgerGgo, LedgerSettlement]]:
        """Return each retired GGO of the tree with its settlement."""
        for ggo in self.ggos.values():
            if ggo.action == "RETIRE":
                for address in ggo.next_addresses:
                    if address in self.settlements:
                        yield ggo, self.settlements[address]

    def parts(self, source: LedgerGgo) -> Iterator[tuple[str, LedgerGgo | None]]:
        """Return each part of a split GGO once; None: the ledger's split did not make it."""
        for address in dict.fromkeys(source.next_addresses):
            part = self.ggos.get(address)
            is_part = part is not None and part.origin == source.address and part.amount > 0
            yield address, part if is_part else None


@dataclass(frozen=True)
class DatabaseGgo:
    """A GGO as the database has it.

    :ivar amount: Wh.
    :ivar settlement: The address of the settlement that it is retired to.
    :ivar parts: Wh by address of the parts it was split into.
    :ivar is_live: A batch under way spends it.
    :ivar never_sent: It was composed, or made by a compose, while the ledger was switched off.
    """

    address: str
    amount: int
    stored: bool
    retired: bool
    settlement: str | None
    parts: Mapping[str, int]
    is_live: bool
    never_sent: bool = False


class GgoState(Enum):
    """How a GGO in the database compares with the ledger's. The values stand in reports."""

    IN_STEP = "in step"
    UNDER_WAY = "a batch under way, of which the ledger knows nothing yet"
    LOST = "spent on the ledger, and the database doesn't know by what"
    SPENT_UNDER_WAY = "spent on the ledger, and a batch under way here"
    NEVER_SENT = "composed while the ledger was switched off; the ledger knows nothing of it"
    ABSENT = "nothing at its address on the ledger"
    SPENT_HERE_ALONE = "spent here, unspent on the ledger"
    SPENT_OTHERWISE = "spent here and on the ledger, not for the same"
    WRONG_AMOUNT = "another amount on the ledger"


def compare(ggo: DatabaseGgo, on_ledger: LedgerGgo | None) -> GgoState:
    """Return how a GGO in the database compares with the ledger's.

    :param on_ledger: None: the ledger has nothing at its address.
    """
    if ggo.never_sent:
        return _compare_unsent(ggo, on_ledger)
    if on_ledger is None:
        return GgoState.UNDER_WAY if ggo.is_live else GgoState.ABSENT
    if ggo.amount != on_ledger.amount:
        return GgoState.WRONG_AMOUNT
    if on_ledger.next is None:
        if ggo.is_live:
            return GgoState.UNDER_WAY
        return GgoState.IN_STEP if ggo.stored else GgoState.SPENT_HERE_ALONE
    if ggo.is_live:
        return GgoState.SPENT_UNDER_WAY
    if ggo.retired:
        is_same = on_ledger.action == "RETIRE" and on_ledger.next_addresses == (ggo.settlement,)
        return GgoState.IN_STEP if is_same else GgoState.SPENT_OTHERWISE
    if not ggo.parts:
        return GgoState.LOST
    targets = on_ledger.next.address_set if on_ledger.action == "SPLIT" else frozenset()
    if ggo.parts.keys() == targets:
        return GgoState.IN_STEP
    return GgoState.LOST if ggo.parts.keys() < targets else GgoState.SPENT_OTHERWISE


def _compare_unsent(ggo: DatabaseGgo, on_ledger: LedgerGgo | None) -> GgoState:
    """Compare a GGO of a batch that was never sent: the ledger has an unspent source at most.

    Anything else on the ledger was done by others.
    """
    if on_ledger is None:
        return GgoState.NEVER_SENT
    if ggo.amount != on_ledger.amount:
        return GgoState.WRONG_AMOUNT
    is_source = on_ledger.next is None and not ggo.stored
    return GgoState.NEVER_SENT if is_source else GgoState.SPENT_OTHERWISE


@dataclass(frozen=True)
class AddressOwner:
    """The owner of an address. `key_index` is the k of `m/0/k`; None: it is an issued GGO's."""

    owner_id: int
    key_index: int | None


@dataclass(frozen=True)
class RetiredTo:
    """A measurement's address, and its owner's metering point; None: none of the owner's."""

    gsrn: str | None
    measurement: str


@dataclass(frozen=True)
class RestoredPart:
    """A part of a split as the database is to have it.

    :ivar amount: Wh.
    :ivar position: Its place in the ledger's order, from 0.
    :ivar is_unspent: It is unspent on the ledger.
    :ivar retired_to: What the sender retired it to, if so.
    """

    address: str
    amount: int
    owner_id: int
    key_index: int
    position: int
    is_unspent: bool
    retired_to: RetiredTo | None = None

    @property
    def is_retired(self) -> bool:
        """Whether the database is to have it as retired by the batch of its split."""
        return self.retired_to is not None and self.retired_to.gsrn is not None


@dataclass(frozen=True)
class Restoration:
    """What the database is to have of one GGO that is spent on the ledger.

    :ivar source: The GGO.
    :ivar parts: The parts of its split whose owner is known.
    :ivar unmatched: Wh by address of the other parts: of no user, or of one whose key is lost.
    :ivar retired_to: What the whole GGO was retired to, if so.
    :ivar problem: Why not all of it can be restored; empty: all can.
    :ivar is_read: All that the GGO became was read; if not, the GGO is left as it is.
    """

    source: LedgerGgo
    parts: tuple[RestoredPart, ...] = ()
    unmatched: Mapping[str, int] = field(default_factory=dict)
    retired_to: RetiredTo | None = None
    problem: str = ""
    is_read: bool = True

    @property
    def is_retired(self) -> bool:
        """Whether the database is to have the whole GGO as retired."""
        return self.retired_to is not None and self.retired_to.gsrn is not None


def plan(
    tree: LedgerTree, owners: Mapping[str, AddressOwner], retired_to: Mapping[str, RetiredTo]
) -> list[Restoration]:
    """Return what the database is to have of a tree, sources before their parts.

    A part that its sender retired is taken for retired by the split's own compose: the ledger does
    not tell that from a later retirement.

    :param owners: By address, those that are known. The root's must be.
    :param retired_to: By address of the retired GGO.
    """
    restorations = []
    waiting = [tree.root]
    while waiting:
        source = tree.ggos[waiting.pop(0)]
        if source.next is None:
            continue
        if source.address in tree.unread:
            problem = "not all can be read on the ledger"
            restorations.append(Restoration(source, problem=problem, is_read=False))
            continue
        restoration = _plan_one(tree, source, owners, retired_to)
        restorations.append(restoration)
        waiting += [part.address for part in restoration.parts if not part.is_retired]
    return restorations


def _plan_one(
    tree: LedgerTree,
    source: LedgerGgo,
    owners: Mapping[str, AddressOwner],
    retired_to: Mapping[str, RetiredTo],
) -> Restoration:
    if source.action == "RETIRE":
        whole = Restoration(source, retired_to=retired_to.get(source.address))
        problem = "retired to a measurement that isn't its owner's"
        return whole if whole.is_retired else replace(whole, problem=problem)
    if source.action != "SPLIT":
        return Restoration(source, problem=f"{source.action} on the ledger, which isn't ours")
    owner_id = owners[source.address].owner_id
    parts, unmatched = [], {}
    for position, (address, part) in enumerate(tree.parts(source)):
        owner = owners.get(address)
        if part is None or owner is None or owner.key_index is None:
            unmatched[address] = part.amount if part else 0
            continue
        is_retired_by_sender = part.action == "RETIRE" and owner.owner_id == owner_id
        parts.append(
            RestoredPart(
                address=address,
                amount=part.amount,
                owner_id=owner.owner_id,
                key_index=owner.key_index,
                position=position,
                is_unspent=part.next is None,
                retired_to=retired_to.get(address) if is_retired_by_sender else None,
            )
        )
    problem = f"{sum(unmatched.values())} Wh are not ours, or of a lost key" if unmatched else ""
    if not problem and sum(part.amount for part in parts) != source.amount:
        problem = "on the ledger the parts don't sum to what was split"
    return Restoration(source, tuple(parts), unmatched, problem=problem)


def stands(restoration: Restoration, spending: Spending, tree: LedgerTree) -> bool:
    """Whether the spending of a batch of ours is what spent this GGO on the ledger.

    False if a part has no known owner, as the database can't store that part.
    """
    if not restoration.is_read or restoration.unmatched:
        return False
    try:
        who = spent_by(spending, restoration.source, tree, allow_spent_parts=True)
    except ValueError:
        # The spending retires to text that is not an address: the ledger can't have it.
        return False
    return who is SpentBy.THIS_BATCH


class TradeIndexSearch:
    """Which indexes k of a user's `m/0/k` to derive next, the likeliest first.

    It begins at the highest index that is known, then at the counter, then where earlier recoveries,
    which were lost too, would have moved the counter to. Each time it goes on for `reach` indexes
    beyond the last match, since composes that failed leave gaps. Indexes below the counter that it
    passed over come last.

    :param known: One more than the highest index that the database has of the user.
    :param counter: The next index that the database would hand out.
    :param margin: By how much a recovery moves the counter.
    :param window: How many indexes `next_window` returns at most.
    """

    def __init__(self, known: int, counter: int, *, reach: int, margin: int, window: int) -> None:
        self._counter = max(counter, known)
        self._reach, self._margin, self._window = reach, margin, window
        self._last = known
        self._begin = self._front = known
        self._limit = known + reach
        self._jumps = -1
        """Since the last match. The first goes to the counter, each other one by the margin beyond it."""
        self._seen: list[range] = []
        self._rest: list[range] | None = None

    def matched(self, key_index: int) -> None:
        """Note that this index was found, so that the search goes on beyond it."""
        self._last = max(self._last, key_index + 1)
        self._limit = max(self._limit, key_index + 1 + self._reach)
        self._jumps = min(self._jumps, 0)

    def next_window(self) -> range | None:
        """Return the next indexes; None: there are no more."""
        while self._rest is None:
            if self._front < self._limit:
                found = range(self._front, min(self._front + self._window, self._limit))
                self._front = found.stop
                return found
            self._jump()
        if not self._rest:
            return None
        first = self._rest.pop(0)
        if len(first) > self._window:
            self._rest.insert(0, first[self._window :])
        return first[: self._window]

    def _jump(self) -> None:
        """Go on from the next start, or to what was passed over."""
        self._seen.append(range(self._begin, self._front))
        self._jumps += 1
        if self._jumps > LOST_RECOVERIES:
            self._rest = list(self._gaps())
            return
        start = max(self._counter, self._last) + self._jumps * self._margin
        self._begin = self._front = max(self._front, start)
        self._limit = max(self._limit, start + self._reach)

    def _gaps(self) -> Iterator[range]:
        """Return what was passed over below the counter; indexes beyond it were not handed out."""
        begin = 0
        for seen in self._seen:
            end = min(seen.start, self._counter)
            if begin < end:
                yield range(begin, end)
            begin = max(begin, seen.stop)
