"""What a database that fell back lacks, as the ledger tells it (contract: peers, The ledger).

Pure rules: what the ledger's state has, and whose the addresses are, give what is to be mended.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from itertools import chain

from origin.batches.rules.ledger_state import LedgerGgo, LedgerSettlement
from origin.batches.rules.standing import Operation, spent_by
from origin.batches.rules.verdicts import SpentBy
from origin.keys.derivation import METERING_POINT_BRANCH, AddressKind, ExtendedKey, period_index


@dataclass(frozen=True)
class Tree:
    """A GGO on the ledger and all that it was turned into: a `LedgerState`, read beforehand.

    :ivar ggos: By address.
    :ivar settlements: By address.
    :ivar unread: Those of which not all could be read that they were turned into.
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
        """What a split GGO was turned into, each once; None: not the ledger's own split."""
        for address in dict.fromkeys(source.next_addresses):
            part = self.ggos.get(address)
            is_part = part is not None and part.origin == source.address and part.amount > 0
            yield address, part if is_part else None


@dataclass(frozen=True)
class Here:
    """A GGO as the database has it.

    :ivar settlement: The address of the settlement that it is retired to.
    :ivar parts: Wh by address of what it was split into.
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


class Standing(Enum):
    """How a GGO here stands to its record on the ledger."""

    IN_STEP = "in step"
    UNDER_WAY = "a batch under way, of which the ledger knows nothing yet"
    LOST = "spent on the ledger, and the database doesn't know by what"
    SPENT_UNDER_WAY = "spent on the ledger, and a batch under way here"
    NEVER_SENT = "composed while the ledger was switched off; the ledger knows nothing of it"
    ABSENT = "nothing at its address on the ledger"
    SPENT_HERE_ALONE = "spent here, unspent on the ledger"
    SPENT_OTHERWISE = "spent here and on the ledger, not for the same"
    WRONG_AMOUNT = "another amount on the ledger"


def compare(here: Here, there: LedgerGgo | None) -> Standing:
    """Tell how a GGO stands, and so what is to be done about it."""
    if here.never_sent:
        return _compare_unsent(here, there)
    if there is None:
        return Standing.UNDER_WAY if here.is_live else Standing.ABSENT
    if here.amount != there.amount:
        return Standing.WRONG_AMOUNT
    if there.action is None:
        if here.is_live:
            return Standing.UNDER_WAY
        return Standing.IN_STEP if here.stored else Standing.SPENT_HERE_ALONE
    if here.is_live:
        return Standing.SPENT_UNDER_WAY
    if here.retired:
        same = there.action == "RETIRE" and there.next_addresses == (here.settlement,)
        return Standing.IN_STEP if same else Standing.SPENT_OTHERWISE
    if not here.parts:
        return Standing.LOST
    targets = set(there.next_addresses) if there.action == "SPLIT" else set()
    if here.parts.keys() == targets:
        return Standing.IN_STEP
    return Standing.LOST if here.parts.keys() < targets else Standing.SPENT_OTHERWISE


def _compare_unsent(here: Here, there: LedgerGgo | None) -> Standing:
    """Of it the ledger has an unspent source at most; what it has beyond that is another operation's."""
    if there is None:
        return Standing.NEVER_SENT
    if here.amount != there.amount:
        return Standing.WRONG_AMOUNT
    is_source = there.action is None and not here.stored
    return Standing.NEVER_SENT if is_source else Standing.SPENT_OTHERWISE


@dataclass(frozen=True)
class Holder:
    """Whose an address is; `key_index` is the k of `m/0/k`, None for an issued GGO."""

    owner_id: int
    key_index: int | None


@dataclass(frozen=True)
class RetiredTo:
    """The address of a measurement, and its owner's metering point; None: it is none of theirs."""

    gsrn: str | None
    measurement: str


@dataclass(frozen=True)
class Part:
    """A part of a split as it is to stand here.

    :ivar position: Its place in the ledger's order, from 0.
    :ivar is_unspent: The ledger has nothing that it was turned into.
    :ivar retired_to: Where its sender retired it.
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
        """Whether it is to stand here as retired by the batch of its split."""
        return self.retired_to is not None and self.retired_to.gsrn is not None


@dataclass(frozen=True)
class Mend:
    """What is to stand here of one spent GGO.

    :ivar parts: Those of its split whose owner is known.
    :ivar unmatched: Wh by address of the others: of nobody here, or of a user whose key is lost.
    :ivar retired_to: Where the whole of it was retired.
    :ivar problem: Why not all of it can stand here; empty: all can.
    :ivar is_read: All was read of what it was turned into; else it is left as it is.
    """

    there: LedgerGgo
    parts: tuple[Part, ...] = ()
    unmatched: Mapping[str, int] = field(default_factory=dict)
    retired_to: RetiredTo | None = None
    problem: str = ""
    is_read: bool = True

    @property
    def is_retired(self) -> bool:
        """Whether the whole of it is to stand here as retired."""
        return self.retired_to is not None and self.retired_to.gsrn is not None


def plan(
    tree: Tree, holders: Mapping[str, Holder], retired_to: Mapping[str, RetiredTo]
) -> list[Mend]:
    """What is to stand here of a tree, sources before what they were turned into.

    A part that its sender retired is taken for a part of the same compose: the ledger doesn't tell
    it from one that was retired afterwards.

    :param holders: By address, of those that are known; the root's is.
    :param retired_to: By address of the GGO, of those that were retired.
    """
    mends = []
    waiting = [tree.root]
    while waiting:
        source = tree.ggos[waiting.pop(0)]
        if source.action is None:
            continue
        if source.address in tree.unread:
            mends.append(Mend(source, problem="not all can be read on the ledger", is_read=False))
            continue
        mend = _plan_one(tree, source, holders, retired_to)
        mends.append(mend)
        waiting += [part.address for part in mend.parts if not part.is_retired]
    return mends


def _plan_one(
    tree: Tree,
    source: LedgerGgo,
    holders: Mapping[str, Holder],
    retired_to: Mapping[str, RetiredTo],
) -> Mend:
    if source.action == "RETIRE":
        whole = retired_to.get(source.address)
        mend = Mend(source, retired_to=whole)
        problem = "retired to a measurement that isn't its owner's"
        return mend if mend.is_retired else replace(mend, problem=problem)
    if source.action != "SPLIT":
        return Mend(source, problem=f"{source.action} on the ledger, which isn't ours")
    owner_id = holders[source.address].owner_id
    parts, unmatched = [], {}
    for position, (address, part) in enumerate(tree.parts(source)):
        holder = holders.get(address)
        if part is None or holder is None or holder.key_index is None:
            unmatched[address] = part.amount if part else 0
            continue
        by_sender = part.action == "RETIRE" and holder.owner_id == owner_id
        parts.append(
            Part(
                address=address,
                amount=part.amount,
                owner_id=holder.owner_id,
                key_index=holder.key_index,
                position=position,
                is_unspent=part.action is None,
                retired_to=retired_to.get(address) if by_sender else None,
            )
        )
    problem = f"{sum(unmatched.values())} Wh are not ours, or of a lost key" if unmatched else ""
    if not problem and sum(part.amount for part in parts) != source.amount:
        problem = "on the ledger the parts don't sum to what was split"
    return Mend(source, tuple(parts), unmatched, problem=problem)


def stands(wanted: Mend, operation: Operation, tree: Tree) -> bool:
    """Whether the operation of a batch of ours is what spent this GGO on the ledger.

    Not if a part is nobody's: what became of it is not known, and the batch would store it.
    """
    if not wanted.is_read or wanted.unmatched:
        return False
    who = spent_by(operation, wanted.there, tree, allow_later_retirements=True)
    return who is SpentBy.THIS_BATCH


LOST_RECOVERIES = 3
"""So many moves of the counters in a row are looked beyond."""


class Trail:
    """Which indexes k of a user's `m/0/k` to look at next, the likeliest first.

    From the highest that is known on, then from the counter on, then where earlier recoveries, which
    were lost too, would have moved the counter to: each as far as `reach` beyond the last match, since
    composes that failed leave gaps. What was passed over below the counter comes last.

    :param known: One more than the highest index that the database has of the user.
    :param counter: The next index that the database would hand out.
    """

    def __init__(self, known: int, counter: int, *, reach: int, margin: int, window: int) -> None:
        self._counter = max(counter, known)
        self._reach, self._margin, self._window = reach, margin, window
        self._last = known
        self._begin = self._front = known
        self._limit = known + reach
        self._jumps = -1
        """Since the last match: first to the counter, then beyond it by the margin."""
        self._seen: list[range] = []
        self._rest: list[range] | None = None

    def matched(self, key_index: int) -> None:
        """Note that this index was found: look further."""
        self._last = max(self._last, key_index + 1)
        self._limit = max(self._limit, key_index + 1 + self._reach)
        self._jumps = min(self._jumps, 0)

    def window(self) -> range | None:
        """The next indexes; None: all were looked at."""
        while self._rest is None:
            if self._front < self._limit:
                found = range(self._front, min(self._front + self._window, self._limit))
                self._front = found.stop
                return found
            self._turn()
        if not self._rest:
            return None
        first = self._rest.pop(0)
        if len(first) > self._window:
            self._rest.insert(0, first[self._window :])
        return first[: self._window]

    def _turn(self) -> None:
        """Go on from the next start, or to what was left out."""
        self._seen.append(range(self._begin, self._front))
        self._jumps += 1
        if self._jumps > LOST_RECOVERIES:
            self._rest = list(self._gaps())
            return
        start = max(self._counter, self._last) + self._jumps * self._margin
        self._begin = self._front = max(self._front, start)
        self._limit = max(self._limit, start + self._reach)

    def _gaps(self) -> Iterator[range]:
        """What was passed over below the counter; what is beyond it was handed out by nobody."""
        begin = 0
        for seen in self._seen:
            end = min(seen.start, self._counter)
            if begin < end:
                yield range(begin, end)
            begin = max(begin, seen.stop)


def point_candidates(
    used: Collection[int], counter: int, *, reach: int, margin: int
) -> Iterator[int]:
    """Which indexes i of `m/1/i` a forgotten metering point may have, the likeliest first.

    :param used: Those of the user's other points: no index is handed to two.
    :param counter: The next index that the database would hand out.
    :param margin: By how much earlier recoveries, which were lost too, have moved the counter on.
    """
    top = max(used, default=-1) + 1
    end = max(counter, top)
    jumps = (end + margin * number for number in range(LOST_RECOVERIES + 1))
    likely = [range(top, top + reach), *(range(start, start + reach) for start in jumps)]
    seen = set(used)
    for index in chain(*likely, range(end)):
        if index not in seen:
            seen.add(index)
            yield index


def proven_index(
    master: ExtendedKey, kind: AddressKind, begin: datetime, address: str, candidates: Iterable[int]
) -> int | None:
    """Which i of `m/1/i` gives this address to the period that begins then; None: none of these."""
    points, period = master.child(METERING_POINT_BRANCH), period_index(begin)
    for index in candidates:
        if points.child(index).public_branch_key.address(period, kind) == address:
            return index
    return None
