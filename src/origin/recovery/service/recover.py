"""Brings a database that fell back in step with DataHub and the ledger (doc/operations/restore.md).

After a restore from a backup, or the promotion of a standby that lagged: what was issued, learnt and
composed since is on the ledger and at DataHub, and only there.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from origin.batches.client.ledger import LedgerClient
from origin.db.engine import Database
from origin.db.models import Ggo, MeteringPoint, Recovery, User
from origin.errors import CannotRecover, OriginError, PeerError, PeerUnavailable, TokensSpent
from origin.intake.rules.events import FIRST_BEGIN
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.recovery.queries import progress
from origin.recovery.queries.progress import Keeper
from origin.recovery.service.forgotten_points import MARGIN, ForgottenPoints
from origin.recovery.service.ledger import LedgerRecovery, Root
from origin.recovery.service.report import Report, Tell
from origin.recovery.service.search import Search
from origin.settings import Settings
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox

REACH = 5_000
CALLS_PER_SECOND = 200.0

_STAGES = ("points", "issued", "ledger")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to recover.

    :ivar is_dry: Change nothing, tell what would be done.
    :ivar goes_on: Go on where the last recovery stopped.
    :ivar margin: By how much the counters of key indexes move past what was found.
    :ivar reach: How far beyond the last match a user's keys are derived.
    :ivar since: GGOs that begin before aren't asked for at DataHub, but of points that are new.
    :ivar calls_per_second: Of the ledger, at most.
    """

    is_dry: bool = False
    goes_on: bool = False
    margin: int = MARGIN
    reach: int = REACH
    since: datetime = FIRST_BEGIN
    calls_per_second: float = CALLS_PER_SECOND


@dataclass(frozen=True)
class RecoveryService:
    """Brings a restored database in step with DataHub and the ledger."""

    database: Database
    wakeups: Wakeups
    forgotten_points: ForgottenPoints
    settings: Settings
    ledger: LedgerClient
    public_branch_keys: PublicBranchKeys
    outbox: Outbox

    def recover(self, options: Options, report: Report, tell: Tell) -> None:
        """Find what the database lacks and, unless it is a dry run, put it in place.

        It may be ended at any moment, and run again: what stands is left as it is.

        :param report: Filled as it goes on, so that it tells what was done also where this raises.
        :raises CannotRecover: another recovery runs, or there is none to go on with.
        :raises PeerUnavailable: DataHub, Hydra or the ledger can't be asked now.
        """
        with progress.only_one(self.database) as alone:
            if not alone:
                raise CannotRecover("Another recovery of this database is under way.")
            _Run(self, options, report, tell).run()


class _Run:
    def __init__(
        self, service: RecoveryService, options: Options, report: Report, tell: Tell
    ) -> None:
        self._service, self._options = service, options
        self._report, self._tell = report, tell
        with self._service.database.reading() as session:
            # As they are before they are moved on: the lost indexes lie from there on.
            self._keepers = progress.keepers(session)
        self._points: dict[int, list[tuple[str, int]]] = {}
        self._recovery: Recovery | None = None

    def run(self) -> None:
        stage, cursor = self._begin()
        first = _STAGES.index(stage)
        for name in _STAGES[first:]:
            work = {"points": self._learn, "issued": self._fetch, "ledger": self._follow}[name]
            work(cursor if name == stage else 0)
        self._end()

    def _begin(self) -> tuple[str, int]:
        """Move the counters on, before anything else; where to go on."""
        if self._options.is_dry:
            return _STAGES[0], 0
        with self._service.database.transaction() as session:
            if not self._options.goes_on:
                self._recovery = progress.begin(session, self._options.margin)
                return _STAGES[0], 0
            self._recovery = progress.unfinished(session)
            if self._recovery is None:
                raise CannotRecover("There is no recovery to go on with.")
            return self._recovery.stage, self._recovery.cursor

    def _end(self) -> None:
        if self._recovery is not None:
            with self._service.database.transaction() as session:
                highest = {each.id: each.known - 1 for each in progress.keepers(session)}
                used = {owner: k for owner, k in highest.items() if k >= 0}
                progress.move_trade_counters(session, used, self._options.margin)
                progress.finish(session, self._recovery.id)
            self._service.wakeups.datahub_jobs_due()
        self._report.complete = True

    def _keep(self, stage: str, cursor: int) -> None:
        if self._recovery is not None:
            with self._service.database.transaction() as session:
                progress.note_progress(session, self._recovery.id, stage, cursor)

    def _learn(self, cursor: int) -> None:
        """Metering points that were learnt since."""
        for place, keeper in enumerate(self._keepers):
            self._tell("Asking DataHub for metering points", place, len(self._keepers))
            if keeper.id <= cursor or not keeper.is_active:
                continue
            try:
                found = self._service.forgotten_points.recover_points(keeper.id, self._report)
                self._points[keeper.id] = found
            except PeerUnavailable:
                raise
            except OriginError as error:
                self._report.add("not_asked", subject=keeper.subject, reason=str(error))
            self._keep("points", keeper.id)
        self._keep("issued", 0)

    def _fetch(self, cursor: int) -> None:
        """GGOs that were issued since."""
        if self._options.is_dry:
            # `_follow` asks for them.
            return
        before = self._count()
        producing = self._producing(cursor)
        for place, (point_id, subject, gsrn, is_new) in enumerate(producing):
            self._tell("Fetching GGOs from DataHub", place, len(producing))
            since = FIRST_BEGIN if is_new else self._options.since
            try:
                self._service.forgotten_points.fetch_issued(point_id, since)
            except PeerUnavailable:
                raise
            except (TokensSpent, PeerError) as error:
                self._report.add("not_asked", subject=subject, reason=f"GGOs of {gsrn}: {error}")
            self._keep("issued", point_id)
        self._report.counts["issued"] += self._count() - before
        self._keep("ledger", 0)

    def _count(self) -> int:
        with self._service.database.reading() as session:
            issued = select(func.count(Ggo.id)).where(Ggo.issue_gsrn.is_not(None))
            return session.scalar(issued) or 0

    def _producing(self, beyond: int) -> list[tuple[int, str, str, bool]]:
        """Producing points of active users: id, subject, gsrn, and whether this recovery added it."""
        assert self._recovery is not None
        is_new = MeteringPoint.created_at >= self._recovery.started_at
        with self._service.database.reading() as session:
            rows = session.execute(
                select(MeteringPoint.id, User.subject, MeteringPoint.gsrn, is_new.label("is_new"))
                .join(User, User.id == MeteringPoint.user_id)
                .where(
                    MeteringPoint.type == "production",
                    MeteringPoint.id > beyond,
                    User.disabled_at.is_(None),
                )
                .order_by(MeteringPoint.id)
            )
            return [(row.id, row.subject, row.gsrn, row.is_new) for row in rows]

    def _follow(self, cursor: int) -> None:
        """What became of all GGOs on the ledger; nothing, where it is switched off."""
        options = self._options
        service = self._service
        search = Search(
            service.public_branch_keys,
            self._keepers,
            self._report,
            self._tell,
            reach=options.reach,
            margin=options.margin,
        )
        ledger = LedgerRecovery(
            service.database,
            service.ledger,
            service.outbox,
            service.public_branch_keys,
            search,
            self._report,
            self._tell,
            calls_per_second=options.calls_per_second,
            margin=options.margin,
            points=self._points,
        )
        with self._service.database.reading() as session:
            total = session.scalar(select(func.count(Ggo.id)).where(Ggo.id > cursor)) or 0
        if options.is_dry:
            self._add_unknown(ledger)
        if not self._service.settings.ledger_enabled:
            return
        ledger.walk(cursor, total, lambda last: self._keep("ledger", last))

    def _add_unknown(self, ledger: LedgerRecovery) -> None:
        """Of a dry run: what was issued since, and what became of it."""
        owners = {each.id: each for each in self._keepers if each.is_active}
        places = [
            (owners[user_id], gsrn, since)
            for user_id, gsrn, since in self._issuing()
            if user_id in owners
        ]
        for place, (keeper, gsrn, since) in enumerate(places):
            self._tell("Asking DataHub for GGOs", place, len(places))
            try:
                self._add_unknown_of(ledger, keeper, gsrn, since)
            except PeerUnavailable:
                raise
            except (TokensSpent, PeerError) as error:
                reason = f"GGOs of {gsrn}: {error}"
                self._report.add("not_asked", subject=keeper.subject, reason=reason)

    def _issuing(self) -> list[tuple[int, str, datetime]]:
        with self._service.database.reading() as session:
            rows = session.execute(
                select(MeteringPoint.user_id, MeteringPoint.gsrn).where(
                    MeteringPoint.type == "production"
                )
            )
            known = [(row.user_id, row.gsrn, self._options.since) for row in rows]
        return known + [
            (user_id, gsrn, FIRST_BEGIN)
            for user_id, found in self._points.items()
            for gsrn, _ in found
        ]

    def _add_unknown_of(
        self, ledger: LedgerRecovery, keeper: Keeper, gsrn: str, since: datetime
    ) -> None:
        unknown = self._service.forgotten_points.unknown_issued(keeper.id, gsrn, since)
        for ggo in {each.address: each for each in unknown}.values():
            self._report.counts["issued"] += 1
            if not self._service.settings.ledger_enabled:
                continue
            there = ledger.ask(self._service.ledger.read_ggo, ggo.address)
            if there is not None and there.action is not None:
                ledger.add(Root(ggo.address, keeper.id, ggo.begin, there))
