"""Follows every known GGO on the ledger to what it was turned into, and has that stand here."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from origin.batches.client.ledger import LedgerClient
from origin.batches.rules.ledger_state import LedgerGgo
from origin.db.engine import Database
from origin.db.models import Ggo, MeteringPoint, User
from origin.db.sqlstates import affects_all_work
from origin.errors import PeerMisbehaved
from origin.keys.derivation import AddressKind, IndexOutOfRange, period_index
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.recovery.queries import mending
from origin.recovery.queries.mending import Known, Outcome
from origin.recovery.queries.progress import move_trade_counters
from origin.recovery.rules import Holder, Mend, RetiredTo, Standing, Tree, compare, plan
from origin.recovery.service.forgotten_points import patiently
from origin.recovery.service.report import Report, Tell
from origin.recovery.service.search import Search
from origin.shared.deadlines import interruptible_sleep
from origin.webhooks.service.outbox import Outbox

_SLICE = 200
_PAUSES_S = (1.0, 2.0, 4.0)
"""Before the ledger is asked once more where it gave no answer."""
_AT_ONCE = 20_000
"""Lost GGOs that are kept in memory before they are mended: some 20 MB."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Root:
    """A GGO that is known here, and was spent on the ledger by what isn't."""

    address: str
    owner_id: int
    begin: datetime
    there: LedgerGgo
    is_forced: bool = False
    """One of its parts has another amount here."""


class LedgerRecovery:
    """Walks over the GGOs here by id, and mends what the ledger has otherwise.

    Each source GGO is one transaction, sources before their parts: whatever happens in between, what is
    spent on the ledger is never on offer here, and another run goes on from what stands.

    :param points: gsrn and key index of points, by user id, beside those of the database.
    """

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        public_branch_keys: PublicBranchKeys,
        search: Search,
        report: Report,
        tell: Tell,
        *,
        calls_per_second: float,
        margin: int,
        points: dict[int, list[tuple[str, int]]],
    ) -> None:
        self._database, self._ledger, self._outbox = database, ledger, outbox
        self._public_branch_keys, self._search = public_branch_keys, search
        self._report, self._tell = report, tell
        self._pause_s, self._next_at = 1 / calls_per_second, time.monotonic()
        self._margin = margin
        self._points = points
        self._lost: list[tuple[Root, Tree]] = []
        self._size = 0

    def walk(self, cursor: int, total: int, keep: Callable[[int], None]) -> None:
        """Look at all GGOs above this id, and mend.

        :param keep: Called with the last id that all is done of.
        :raises PeerUnavailable: the ledger can't be asked now.
        """
        done = 0
        while True:
            with self._database.reading() as session:
                ids = mending.next_ids(session, cursor, _SLICE)
                known = mending.read_known(session, Ggo.id.in_(ids))
            if not ids:
                self.settle()
                keep(cursor)
                return
            self._look(known)
            cursor, done = ids[-1], done + len(ids)
            if not self._lost:
                keep(cursor)
            elif self._size >= _AT_ONCE:
                self.settle()
                keep(cursor)
            self._tell("Following GGOs on the ledger", done, max(total, done))

    def add(self, root: Root) -> None:
        """Note a GGO that is spent on the ledger; `settle` mends it."""
        tree = self._explore(root.there)
        self._lost.append((root, tree))
        self._size += len(tree.ggos)

    def ask(self, question: Callable[[str], T], address: str) -> T:
        """Ask the ledger, no more often than is polite, and again where it doesn't answer.

        :raises PeerUnavailable: it can't be asked now.
        :raises PeerMisbehaved: it says what can't be.
        """
        interruptible_sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._pause_s
        self._report.counts["ledger_calls"] += 1
        return patiently(lambda: question(address), _PAUSES_S)

    def _look(self, known: Sequence[Known]) -> None:
        parents: set[str] = set()
        for each in known:
            if each.is_part_of_live:
                # Decided with its source.
                continue
            self._report.counts["ggos"] += 1
            try:
                there = self.ask(self._ledger.read_ggo, each.here.address)
            except PeerMisbehaved as error:
                self._differs(each.here.address, str(error))
                continue
            standing = compare(each.here, there)
            if standing in {Standing.IN_STEP, Standing.UNDER_WAY}:
                continue
            if standing is Standing.NEVER_SENT:
                self._report.counts["never_sent"] += 1
                continue
            if standing in {Standing.LOST, Standing.SPENT_UNDER_WAY} and there is not None:
                self.add(Root(each.here.address, each.owner_id, each.begin, there))
            elif standing is Standing.WRONG_AMOUNT and each.parent is not None:
                parents.add(each.parent)
            else:
                self._differs(each.here.address, standing.value)
        self._add_parents(parents)

    def _add_parents(self, addresses: Iterable[str]) -> None:
        """Note sources whose parts have other amounts on the ledger."""
        with self._database.reading() as session:
            known = mending.read_known(session, Ggo.address.in_(list(addresses)))
        for each in known:
            try:
                there = self.ask(self._ledger.read_ggo, each.here.address)
            except PeerMisbehaved as error:
                self._differs(each.here.address, str(error))
                continue
            if there is None or there.action is None:
                self._differs(each.here.address, Standing.SPENT_HERE_ALONE.value)
            else:
                self.add(Root(each.here.address, each.owner_id, each.begin, there, is_forced=True))

    def _explore(self, root: LedgerGgo) -> Tree:
        """All that a GGO was turned into."""
        tree = Tree(root.address, {root.address: root})
        waiting = [root]
        while waiting:
            source = waiting.pop()
            for address in dict.fromkeys(source.next_addresses):
                try:
                    waiting += self._read_into(tree, source, address)
                except PeerMisbehaved as error:
                    self._differs(address, str(error))
                    # A part that was retired somewhere: then its source's batch can't be told either.
                    tree.unread.update((source.address, source.origin))
        return tree

    def _read_into(self, tree: Tree, source: LedgerGgo, address: str) -> list[LedgerGgo]:
        """Read one of the things that a GGO was turned into; what is to be followed further.

        :raises PeerMisbehaved: it isn't there, or isn't what it should be.
        """
        if source.action == "SPLIT":
            part = self.ask(self._ledger.read_ggo, address)
            # Of another origin it could lead in a circle.
            if part is None or part.origin != source.address:
                raise PeerMisbehaved("Ledger", f"no part of {source.address} at {address}")
            tree.ggos[address] = part
            return [part]
        if source.action == "RETIRE":
            settlement = self.ask(self._ledger.read_settlement, address)
            if settlement is None:
                raise PeerMisbehaved("Ledger", f"no settlement at {address}")
            tree.settlements[address] = settlement
        return []

    def settle(self) -> None:
        """Mend what was noted so far."""
        lost, self._lost, self._size = self._lost, [], 0
        if not lost:
            return
        roots = [root.address for root, _ in lost]
        wanted = {address for _, tree in lost for address in tree.ggos}
        with self._database.reading() as session:
            holders = mending.holders_of(session, wanted, roots)
        # Those that the database hasn't yet, in a dry run, are issued ones.
        holders = {root.address: Holder(root.owner_id, None) for root, _ in lost} | holders
        likely = [root.owner_id for root, _ in lost]
        holders |= self._search.find(wanted - holders.keys(), likely)
        if not self._report.is_dry:
            # Before they are used: whatever happens, they aren't handed out again.
            with self._database.transaction() as session:
                move_trade_counters(session, self._search.highest, self._margin)
        points = _Points(self._database, self._public_branch_keys, self._points)
        for place, (root, tree) in enumerate(lost):
            for mend in plan(tree, holders, self._retired_to(points, root, tree, holders)):
                self._mend(root, tree, mend)
            self._tell("Mending", place + 1, len(lost))

    def _retired_to(
        self, points: "_Points", root: Root, tree: Tree, holders: dict[str, Holder]
    ) -> dict[str, RetiredTo]:
        """Where GGOs of this tree were retired to."""
        found = {}
        for there, settlement in tree.retirements():
            address = there.address
            if address not in holders:
                continue
            if settlement.amounts.get(address) != there.amount:
                self._differs(address, "settled on the ledger with another amount")
            gsrn = points.find(holders[address].owner_id, root.begin, settlement.measurement)
            found[address] = RetiredTo(gsrn, settlement.measurement)
        return found

    def _mend(self, root: Root, tree: Tree, mend: Mend) -> None:
        address = mend.there.address
        for lost, wh in mend.unmatched.items():
            self._report.add("unmatched", address=lost, wh=wh, source=address)
        self._report.counts["unmatched_wh"] += sum(mend.unmatched.values())
        if mend.problem and not mend.unmatched:
            self._differs(address, mend.problem)
        if not mend.is_read:
            return
        outcome = Outcome.MENDED if self._report.is_dry else self._apply(tree, mend)
        if outcome is Outcome.MENDED:
            self._report.counts["mended"] += 1
            self._report.counts["parts"] += len(mend.parts)
            self._report.counts["parts_wh"] += sum(part.amount for part in mend.parts)
        elif outcome is Outcome.COMPLETED:
            self._report.counts["completed"] += 1
        elif outcome is Outcome.FAILED:
            self._differs(address, outcome.value)
        elif outcome is Outcome.CONTRARY or root.is_forced:
            self._differs(address, Outcome.CONTRARY.value)

    def _apply(self, tree: Tree, mend: Mend) -> Outcome:
        try:
            with self._outbox.transaction() as session:
                declined = mending.free_addresses(session, mend)
            with self._outbox.transaction() as session:
                outcome = mending.mend(session, mend, tree)
        except DBAPIError as error:
            if affects_all_work(error):
                raise
            log.exception("GGO %s can't be mended", mend.there.address)
            return Outcome.FAILED
        for batch_id in declined:
            log.warning("Batch %s is declined: its addresses are in use", batch_id)
        self._report.counts["declined"] += len(declined)
        if outcome in {Outcome.MENDED, Outcome.COMPLETED}:
            log.info(
                "Recovered what became of GGO %s",
                mend.there.address,
                extra={"event": "recovery.mended", "outcome": outcome.value},
            )
        return outcome

    def _differs(self, address: str, what: str) -> None:
        self._report.add("differing", address=address, what=what)


class _Points:
    """The users' metering points, and the addresses of their measurements."""

    def __init__(
        self,
        database: Database,
        public_branch_keys: PublicBranchKeys,
        more: dict[int, list[tuple[str, int]]],
    ) -> None:
        self._database, self._public_branch_keys, self._more = database, public_branch_keys, more
        self._owners: dict[int, tuple[str, str, dict[str, int]]] = {}

    def find(self, owner_id: int, begin: datetime, measurement: str) -> str | None:
        """The owner's point whose measurement of the period that begins then has this address."""
        if owner_id not in self._owners:
            self._owners[owner_id] = self._read(owner_id)
        subject, sealed, points = self._owners[owner_id]
        for gsrn, key_index in points.items():
            branch = self._public_branch_keys.metering_point(subject, sealed, key_index)
            try:
                address = branch.address(period_index(begin), AddressKind.MEASUREMENT)
            except IndexOutOfRange:
                return None
            if address == measurement:
                return gsrn
        return None

    def _read(self, owner_id: int) -> tuple[str, str, dict[str, int]]:
        with self._database.reading() as session:
            user = session.get_one(User, owner_id)
            rows = session.execute(
                select(MeteringPoint.gsrn, MeteringPoint.key_index).where(
                    MeteringPoint.user_id == owner_id
                )
            )
            points = {row.gsrn: row.key_index for row in rows}
        return user.subject, user.master_key, points | dict(self._more.get(owner_id, ()))
