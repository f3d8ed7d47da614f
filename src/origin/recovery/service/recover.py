"""Brings a database that fell back in step with DataHub and the ledger (doc/operations/backup-and-restore.md).

After a restore from a backup, or the promotion of a standby that lagged, only the ledger and DataHub
have what was issued, learnt and composed since.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from origin.batches.client.ledger import LedgerClient
from origin.db.engine import Database
from origin.errors import CannotRecover, OriginError, PeerError, PeerUnavailable, TokensSpent
from origin.ggos.queries.by_id import count_ggos
from origin.intake.rules.events import FIRST_BEGIN
from origin.intake.rules.key_indexes import RECOVERY_MARGIN
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.recovery.queries import progress
from origin.recovery.queries.metering_points import active_production_points, production_points
from origin.recovery.queries.progress import KeyOwner
from origin.recovery.queries.restoring import count_issued
from origin.recovery.service.forgotten_points import ForgottenPoints
from origin.recovery.service.ledger_recovery import LedgerRecovery, PointsByUser, Root
from origin.recovery.service.owner_search import OwnerSearch
from origin.recovery.service.report import Report, ShowProgress
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox

if TYPE_CHECKING:
    from origin.db.models import Recovery

REACH = 5_000
CALLS_PER_SECOND = 200.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecoveryOptions:
    """How to recover.

    :ivar is_dry: Change nothing; report what would be done.
    :ivar goes_on: Continue where the last recovery stopped.
    :ivar margin: By how much the counters of key indexes move beyond what was found.
    :ivar reach: How many indexes beyond the last match are derived for each user.
    :ivar since: DataHub is asked for GGOs that begin then or later; for all, if the metering point is
        new.
    :ivar calls_per_second: Calls of the ledger, at most.
    """

    is_dry: bool = False
    goes_on: bool = False
    margin: int = RECOVERY_MARGIN
    reach: int = REACH
    since: datetime = FIRST_BEGIN
    calls_per_second: float = CALLS_PER_SECOND


@dataclass(frozen=True)
class RecoveryService:
    """Brings a restored database in step with DataHub and the ledger.

    :ivar ledger_enabled: LEDGER_ENABLED.
    """

    database: Database
    wakeups: Wakeups
    forgotten_points: ForgottenPoints
    ledger: LedgerClient
    public_branch_keys: PublicBranchKeys
    outbox: Outbox
    ledger_enabled: bool

    def recover(
        self, options: RecoveryOptions, report: Report, show_progress: ShowProgress
    ) -> None:
        """Find what the database lacks and, unless it is a dry run, restore it.

        It may be stopped at any time, and run again: what is restored is left as it is.

        :param report: Filled step by step, so that it tells what was done even if this raises.
        :raises CannotRecover: another recovery runs, or there is none to continue.
        :raises PeerUnavailable: DataHub, Hydra or the ledger can't be asked now.
        """
        with progress.only_one(self.database) as alone:
            if not alone:
                raise CannotRecover("Another recovery of this database is under way.")
            _Run(self, options, report, show_progress).run()


class _Run:
    def __init__(
        self,
        service: RecoveryService,
        options: RecoveryOptions,
        report: Report,
        show_progress: ShowProgress,
    ) -> None:
        self._service, self._options = service, options
        self._report, self._show_progress = report, show_progress
        with self._service.database.reading() as session:
            # Before the counters are moved: the lost indexes begin there.
            self._key_owners = progress.key_owners(session)
        self._points: PointsByUser = {}
        self._recovery: Recovery | None = None

    def run(self) -> None:
        """Go through the stages, from where a recovery that is continued stopped."""
        stages = {
            "points": self._recover_points,
            "issued": self._fetch_issued,
            "ledger": self._follow_ledger,
        }
        stage, cursor = self._begin()
        names = list(stages)
        for name in names[names.index(stage) :]:
            stages[name](cursor if name == stage else 0)
        self._end()

    def _begin(self) -> tuple[str, int]:
        """Move the counters on, before anything else. Return the stage and cursor to begin at."""
        if self._options.is_dry:
            return "points", 0
        with self._service.database.transaction() as session:
            if not self._options.goes_on:
                self._recovery = progress.begin(session, self._options.margin)
                return "points", 0
            self._recovery = progress.unfinished(session)
            if self._recovery is None:
                raise CannotRecover("There is no recovery to go on with.")
            return self._recovery.stage, self._recovery.cursor

    def _end(self) -> None:
        if self._recovery is not None:
            with self._service.database.transaction() as session:
                highest = {each.id: each.known - 1 for each in progress.key_owners(session)}
                used = {owner: k for owner, k in highest.items() if k >= 0}
                progress.move_trade_counters(session, used, self._options.margin)
                progress.finish(session, self._recovery.id)
                progress.begin_histories(session)
            self._service.wakeups.datahub_jobs_due()
        self._report.complete = True

    def _save_progress(self, stage: str, cursor: int) -> None:
        if self._recovery is not None:
            with self._service.database.transaction() as session:
                progress.note_progress(session, self._recovery.id, stage, cursor)

    def _recover_points(self, cursor: int) -> None:
        """Recover metering points that became known since the backup, of users above this id."""
        for place, user in enumerate(self._key_owners):
            self._show_progress("Asking DataHub for metering points", place, len(self._key_owners))
            if user.id <= cursor or not user.is_active:
                continue
            try:
                found = self._service.forgotten_points.recover_points(user.id, self._report)
                self._points[user.id] = found
            except PeerUnavailable:
                raise
            except OriginError as error:
                self._report.add("not_asked", subject=user.subject, reason=str(error))
            self._save_progress("points", user.id)
        self._save_progress("issued", 0)

    def _fetch_issued(self, cursor: int) -> None:
        """Fetch GGOs that were issued since the backup, of metering points above this id.

        Nothing in a dry run: `_follow_ledger` asks for them.
        """
        if self._recovery is None:
            return
        with self._service.database.reading() as session:
            before = count_issued(session)
            points = active_production_points(session, cursor, self._recovery.started_at)
        for place, point in enumerate(points):
            self._show_progress("Fetching GGOs from DataHub", place, len(points))
            since = FIRST_BEGIN if point.is_new else self._options.since
            try:
                self._service.forgotten_points.fetch_issued(point.id, since)
            except PeerUnavailable:
                raise
            except (TokensSpent, PeerError) as error:
                reason = f"GGOs of {point.gsrn}: {error}"
                self._report.add("not_asked", subject=point.subject, reason=reason)
            self._save_progress("issued", point.id)
        with self._service.database.reading() as session:
            self._report.counts["issued"] += count_issued(session) - before
        self._save_progress("ledger", 0)

    def _follow_ledger(self, cursor: int) -> None:
        """Restore what became of GGOs above this id; nothing, if the ledger is switched off."""
        ledger = self._ledger_recovery()
        if self._options.is_dry:
            self._add_unknown(ledger)
        if not self._service.ledger_enabled:
            return
        with self._service.database.reading() as session:
            total = count_ggos(session, cursor)
        ledger.run(cursor, total, lambda last: self._save_progress("ledger", last))

    def _ledger_recovery(self) -> LedgerRecovery:
        service, options = self._service, self._options
        search = OwnerSearch(
            service.public_branch_keys,
            self._key_owners,
            self._report,
            self._show_progress,
            reach=options.reach,
            margin=options.margin,
        )
        return LedgerRecovery(
            service.database,
            service.ledger,
            service.outbox,
            service.public_branch_keys,
            search,
            self._report,
            self._show_progress,
            calls_per_second=options.calls_per_second,
            margin=options.margin,
            points=self._points,
        )

    def _add_unknown(self, ledger: LedgerRecovery) -> None:
        """Of a dry run: add what was issued since the backup, and what became of it."""
        owners = {each.id: each for each in self._key_owners if each.is_active}
        points = [point for point in self._production_points() if point[0] in owners]
        for place, (user_id, gsrn, since) in enumerate(points):
            self._show_progress("Asking DataHub for GGOs", place, len(points))
            try:
                self._add_unknown_of(ledger, owners[user_id], gsrn, since)
            except PeerUnavailable:
                raise
            except (TokensSpent, PeerError) as error:
                reason = f"GGOs of {gsrn}: {error}"
                self._report.add("not_asked", subject=owners[user_id].subject, reason=reason)

    def _production_points(self) -> list[tuple[int, str, datetime]]:
        """Return user id, GSRN, and the time from which on to ask for GGOs."""
        with self._service.database.reading() as session:
            known = production_points(session)
        return [(user_id, gsrn, self._options.since) for user_id, gsrn in known] + [
            (user_id, gsrn, FIRST_BEGIN)
            for user_id, found in self._points.items()
            for gsrn, _ in found
        ]

    def _add_unknown_of(
        self, ledger: LedgerRecovery, user: KeyOwner, gsrn: str, since: datetime
    ) -> None:
        unknown = self._service.forgotten_points.unknown_issued(user.id, gsrn, since)
        for ggo in {each.address: each for each in unknown}.values():
            self._report.counts["issued"] += 1
            if not self._service.ledger_enabled:
                continue
            on_ledger = ledger.ask(self._service.ledger.read_ggo, ggo.address)
            if on_ledger is not None and on_ledger.next is not None:
                ledger.add(Root(ggo.address, user.id, ggo.begin, on_ledger))
