"""Follows every GGO of the database on the ledger, and restores what it became."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from origin.batches.client.ledger import LedgerClient
from origin.batches.rules.ledger_state import LedgerGgo
from origin.db.engine import Database
from origin.db.sqlstates import affects_all_work
from origin.errors import PeerMisbehaved
from origin.keys.derivation import AddressKind, IndexOutOfRange, period_index
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.peers.retrying import retry_while_unavailable
from origin.recovery.queries import restoring
from origin.recovery.queries.metering_points import UserPoints, points_of
from origin.recovery.queries.progress import move_trade_counters
from origin.recovery.queries.restoring import KnownGgo, Outcome
from origin.recovery.rules import (
    AddressOwner,
    GgoState,
    LedgerTree,
    Restoration,
    RetiredTo,
    compare,
    plan,
)
from origin.recovery.service.owner_search import OwnerSearch
from origin.recovery.service.report import Report, ShowProgress
from origin.shared.deadlines import interruptible_sleep
from origin.webhooks.service.outbox import Outbox

_PAGE = 200
_PAUSES_S = (1.0, 2.0, 4.0)
"""Pauses before the ledger is asked once more if it gave no answer."""
_AT_ONCE = 20_000
"""Lost GGOs that are kept in memory before they are restored: some 20 MB."""

PointsByUser = dict[int, list[tuple[str, int]]]
"""GSRN and key index of metering points, by user id."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Root:
    """A GGO of the database that is spent on the ledger by what the database does not have.

    :ivar is_forced: One of its parts has another amount in the database.
    """

    address: str
    owner_id: int
    begin: datetime
    on_ledger: LedgerGgo
    is_forced: bool = False


class LedgerRecovery:
    """Goes through the GGOs of the database by id, and restores what they became on the ledger.

    Each source GGO is one transaction, sources before their parts. So at any moment what is spent on
    the ledger is not on offer here, and another recovery continues from what the database has.

    :param points: Metering points in addition to those of the database.
    """

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        public_branch_keys: PublicBranchKeys,
        search: OwnerSearch,
        report: Report,
        show_progress: ShowProgress,
        *,
        calls_per_second: float,
        margin: int,
        points: PointsByUser,
    ) -> None:
        self._database, self._ledger, self._outbox = database, ledger, outbox
        self._public_branch_keys, self._search = public_branch_keys, search
        self._report, self._show_progress = report, show_progress
        self._interval_s, self._next_at = 1 / calls_per_second, time.monotonic()
        self._margin = margin
        self._points = points
        self._pending: list[tuple[Root, LedgerTree]] = []
        self._pending_ggos = 0

    def run(self, cursor: int, total: int, save_cursor: Callable[[int], None]) -> None:
        """Compare all GGOs above this id, and restore what is lost.

        :param save_cursor: Called with the last id up to which everything is done.
        :raises PeerUnavailable: the ledger can't be asked now.
        """
        done = 0
        while True:
            with self._database.reading() as session:
                ids = restoring.next_ids(session, cursor, _PAGE)
                known = restoring.read_by_ids(session, ids)
            if not ids:
                self.restore_pending()
                save_cursor(cursor)
                return
            self._compare(known)
            cursor, done = ids[-1], done + len(ids)
            if not self._pending:
                save_cursor(cursor)
            elif self._pending_ggos >= _AT_ONCE:
                self.restore_pending()
                save_cursor(cursor)
            self._show_progress("Following GGOs on the ledger", done, max(total, done))

    def add(self, root: Root) -> None:
        """Read what a spent GGO became; `restore_pending` restores it."""
        tree = self._read_tree(root.on_ledger)
        self._pending.append((root, tree))
        self._pending_ggos += len(tree.ggos)

    def ask(self, read: Callable[[str], T], address: str) -> T:
        """Ask the ledger, at most `calls_per_second`, and again if it does not answer.

        :raises PeerUnavailable: it can't be asked now.
        :raises PeerMisbehaved: what it has there is not what is expected.
        """
        interruptible_sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._interval_s
        self._report.counts["ledger_calls"] += 1
        return retry_while_unavailable(lambda: read(address), _PAUSES_S)

    def _compare(self, known: Sequence[KnownGgo]) -> None:
        """Compare GGOs with the ledger, and add those that are spent there by what is lost."""
        parents: set[str] = set()
        for each in known:
            if each.is_part_of_live:
                # It is decided with its source.
                continue
            self._report.counts["ggos"] += 1
            try:
                on_ledger = self.ask(self._ledger.read_ggo, each.ggo.address)
            except PeerMisbehaved as error:
                self._report_difference(each.ggo.address, str(error))
                continue
            state = compare(each.ggo, on_ledger)
            if state in {GgoState.IN_STEP, GgoState.UNDER_WAY}:
                continue
            if state is GgoState.NEVER_SENT:
                self._report.counts["never_sent"] += 1
            elif state in {GgoState.LOST, GgoState.SPENT_UNDER_WAY} and on_ledger is not None:
                self.add(Root(each.ggo.address, each.owner_id, each.begin, on_ledger))
            elif state is GgoState.WRONG_AMOUNT and each.parent is not None:
                parents.add(each.parent)
            else:
                self._report_difference(each.ggo.address, state.value)
        self._add_parents(parents)

    def _add_parents(self, addresses: Iterable[str]) -> None:
        """Add sources whose parts have other amounts on the ledger."""
        with self._database.reading() as session:
            known = restoring.read_by_addresses(session, list(addresses))
        for each in known:
            try:
                on_ledger = self.ask(self._ledger.read_ggo, each.ggo.address)
            except PeerMisbehaved as error:
                self._report_difference(each.ggo.address, str(error))
                continue
            if on_ledger is None or on_ledger.next is None:
                self._report_difference(each.ggo.address, GgoState.SPENT_HERE_ALONE.value)
            else:
                root = Root(each.ggo.address, each.owner_id, each.begin, on_ledger, is_forced=True)
                self.add(root)

    def _read_tree(self, root: LedgerGgo) -> LedgerTree:
        """Read all that a GGO became."""
        tree = LedgerTree(root.address, {root.address: root})
        waiting = [root]
        while waiting:
            source = waiting.pop()
            for address in dict.fromkeys(source.next_addresses):
                try:
                    waiting += self._read_into(tree, source, address)
                except PeerMisbehaved as error:
                    self._report_difference(address, str(error))
                    # The origin, too: whether its batch retired this source is not known, either.
                    tree.unread.update((source.address, source.origin))
        return tree

    def _read_into(self, tree: LedgerTree, source: LedgerGgo, address: str) -> list[LedgerGgo]:
        """Read one of the records that a GGO became; return the GGOs to be followed further.

        :raises PeerMisbehaved: the ledger does not have it, or not as it should be.
        """
        if source.action == "SPLIT":
            part = self.ask(self._ledger.read_ggo, address)
            # A part of another origin could lead in a circle.
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

    def restore_pending(self) -> None:
        """Restore what was added so far."""
        pending, self._pending, self._pending_ggos = self._pending, [], 0
        if not pending:
            return
        owners = self._owners_of(pending)
        points = _MeteringPoints(self._database, self._public_branch_keys, self._points)
        for place, (root, tree) in enumerate(pending):
            for restoration in plan(tree, owners, self._retired_to(points, root, tree, owners)):
                self._restore(root, tree, restoration)
            self._show_progress("Restoring", place + 1, len(pending))

    def _owners_of(self, pending: Sequence[tuple[Root, LedgerTree]]) -> dict[str, AddressOwner]:
        """Return the owners of all GGOs of these trees, as far as they are found."""
        roots = [root.address for root, _ in pending]
        wanted = {address for _, tree in pending for address in tree.ggos}
        with self._database.reading() as session:
            found = restoring.owners_of(session, wanted, roots)
        # Roots that the database does not have yet, in a dry run, are issued GGOs.
        owners = {root.address: AddressOwner(root.owner_id, None) for root, _ in pending} | found
        likely = [root.owner_id for root, _ in pending]
        owners |= self._search.find(wanted - owners.keys(), likely)
        if not self._report.is_dry:
            # Before the indexes are used: whatever happens, they are not handed out again.
            with self._database.transaction() as session:
                move_trade_counters(session, self._search.highest, self._margin)
        return owners

    def _retired_to(
        self,
        points: "_MeteringPoints",
        root: Root,
        tree: LedgerTree,
        owners: dict[str, AddressOwner],
    ) -> dict[str, RetiredTo]:
        """Return what the GGOs of this tree were retired to, by address."""
        found = {}
        for ggo, settlement in tree.retirements():
            owner = owners.get(ggo.address)
            if owner is None:
                continue
            if settlement.amounts.get(ggo.address) != ggo.amount:
                self._report_difference(ggo.address, "settled on the ledger with another amount")
            gsrn = points.find(owner.owner_id, root.begin, settlement.measurement)
            found[ggo.address] = RetiredTo(gsrn, settlement.measurement)
        return found

    def _restore(self, root: Root, tree: LedgerTree, wanted: Restoration) -> None:
        """Restore one GGO, and report it."""
        address, counts = wanted.source.address, self._report.counts
        for unmatched, wh in wanted.unmatched.items():
            self._report.add("unmatched", address=unmatched, wh=wh, source=address)
        counts["unmatched_wh"] += sum(wanted.unmatched.values())
        if wanted.problem and not wanted.unmatched:
            self._report_difference(address, wanted.problem)
        if not wanted.is_read:
            return
        outcome = Outcome.RESTORED if self._report.is_dry else self._store(wanted, tree)
        if outcome is Outcome.RESTORED:
            counts["mended"] += 1
            counts["parts"] += len(wanted.parts)
            counts["parts_wh"] += sum(part.amount for part in wanted.parts)
        elif outcome is Outcome.COMPLETED:
            counts["completed"] += 1
        elif outcome is Outcome.FAILED:
            self._report_difference(address, outcome.value)
        elif outcome is Outcome.CONTRARY or root.is_forced:
            self._report_difference(address, Outcome.CONTRARY.value)

    def _store(self, wanted: Restoration, tree: LedgerTree) -> Outcome:
        address = wanted.source.address
        try:
            with self._outbox.transaction() as session:
                declined = restoring.free_addresses(session, wanted)
            with self._outbox.transaction() as session:
                outcome = restoring.restore(session, wanted, tree)
        except DBAPIError as error:
            if affects_all_work(error):
                raise
            log.exception("GGO %s can't be restored", address)
            return Outcome.FAILED
        for batch_id in declined:
            log.warning("Batch %s is declined: its addresses are in use", batch_id)
        self._report.counts["declined"] += len(declined)
        if outcome in {Outcome.RESTORED, Outcome.COMPLETED}:
            log.info(
                "Recovered what became of GGO %s",
                address,
                extra={"event": "recovery.mended", "outcome": outcome.value},
            )
        return outcome

    def _report_difference(self, address: str, what: str) -> None:
        self._report.add("differing", address=address, what=what)


class _MeteringPoints:
    """The users' metering points, read once each, and the addresses of their measurements."""

    def __init__(
        self, database: Database, public_branch_keys: PublicBranchKeys, more: PointsByUser
    ) -> None:
        self._database, self._public_branch_keys, self._more = database, public_branch_keys, more
        self._by_user: dict[int, UserPoints] = {}

    def find(self, owner_id: int, begin: datetime, measurement: str) -> str | None:
        """Return the GSRN of the owner's point that has this measurement address.

        :param begin: Of the measurement's period.
        """
        if owner_id not in self._by_user:
            with self._database.reading() as session:
                self._by_user[owner_id] = points_of(session, owner_id)
        user = self._by_user[owner_id]
        for gsrn, key_index in (user.key_indexes | dict(self._more.get(owner_id, ()))).items():
            branch_key = self._public_branch_keys.metering_point(
                user.subject, user.sealed_master_key, key_index
            )
            try:
                address = branch_key.address(period_index(begin), AddressKind.MEASUREMENT)
            except IndexOutOfRange:
                return None
            if address == measurement:
                return gsrn
        return None
