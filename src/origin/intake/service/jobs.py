"""Work at DataHub on users' behalf: done when due, tried again until it succeeds."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import JobKind, enqueue, enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.db.models import DataHubJob, MeteringPoint, User
from origin.errors import OriginError, PeerError, PeerMisbehaved, TokensSpent
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.job_queue import claim
from origin.intake.rules.back_fill import end_of_stretch, longer, shorter
from origin.intake.rules.events import FIRST_BEGIN, MeteringPointEvent
from origin.intake.service import metering_points
from origin.intake.service.back_fill import BackFill
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import Owner
from origin.keys.derivation import ExtendedKey, metering_point_key
from origin.keys.sealing import Sealer, master_key_context
from origin.peers.datahub import DataHubClient, WebhookEvent
from origin.recovery.service.forgotten_points import ForgottenPoints
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox

PARALLEL = 8
"""Jobs at a time. Each has a database connection for moments only, so that few are enough."""
FETCHES_AT_ONCE = 2
"""Fetches of GGOs at a time, in a process: each keeps a worker of DataHub's busy."""
MAX_RUN_S = 20.0
"""After this time a run takes up no more, so that a DataHub that hangs holds up nothing else."""
FETCH_RUN_S = 10.0
"""After this time a fetch of GGOs lets other jobs go first."""

_ODD_ROWS_TOLD = 5

log = logging.getLogger(__name__)


_fetching = threading.Lock()
"""Held by this process's run that fetches GGOs."""


@dataclass
class _Job:
    """A claimed job; `lease_until` tells whether it is still the same that was claimed.

    Its lease is renewed while it runs: `lock` is held by whoever writes to its row.
    """

    id: int
    user_id: int
    kind: JobKind
    metering_point_id: int | None
    fetched_until: datetime | None
    fetch_hours: int | None
    attempts: int
    lease_until: datetime
    held_since: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


_FETCHES: Sequence[JobKind] = ("fetch_ggos",)
_OTHERS: Sequence[JobKind] = (
    "send_key",
    "subscribe_metering_points",
    "subscribe_ggos",
    "import_metering_points",
)


@dataclass(frozen=True)
class DataHubJobs:
    """Does due jobs at DataHub."""

    settings: Settings
    database: Database
    sealer: Sealer
    datahub: DataHubClient
    user_tokens: UserTokens
    forgotten_points: ForgottenPoints
    outbox: Outbox
    wakeups: Wakeups
    back_fill: BackFill

    def run_due(self) -> int:
        """Do the jobs that are due, a few at a time, until none is left or 20 s have passed.

        Fetches of GGOs, which are slow, go beside the others.

        :returns: How many were done, successfully or not.
        """
        deadline = Deadline(MAX_RUN_S)
        with ThreadPoolExecutor(1) as beside:
            fetching = beside.submit(self._run_fetches, deadline)
            count = self._work_off(_OTHERS, PARALLEL, deadline)
            count += fetching.result()
        # What the others have asked for meanwhile.
        return count if deadline.is_over() else count + self._run_fetches(deadline)

    def _run_fetches(self, deadline: Deadline) -> int:
        """Fetch GGOs, unless another run of this process does."""
        if not _fetching.acquire(blocking=False):
            return 0
        try:
            return self._work_off(_FETCHES, FETCHES_AT_ONCE, deadline)
        finally:
            _fetching.release()

    def _work_off(self, kinds: Sequence[JobKind], at_once: int, deadline: Deadline) -> int:
        """Do jobs of these kinds; one that is slow keeps none of the others waiting."""
        count, is_over = 0, False
        renew_after_s = self.settings.lease_seconds / 3
        under_way: dict[Future[None], _Job] = {}
        with ThreadPoolExecutor(at_once) as pool:
            while True:
                free = at_once - len(under_way)
                if free and not is_over:
                    jobs = self._claim(kinds, free)
                    under_way |= {pool.submit(self._run, job): job for job in jobs}
                    count += len(jobs)
                if not under_way:
                    return count
                done, _ = wait(under_way, renew_after_s, return_when=FIRST_COMPLETED)
                for each in done:
                    del under_way[each]
                    # Only a database that is away can make one raise.
                    each.result()
                for job in under_way.values():
                    if time.monotonic() - job.held_since > renew_after_s:
                        self._renew(job)
                is_over = deadline.is_over()

    def _claim(self, kinds: Sequence[JobKind], limit: int) -> list[_Job]:
        lease_s = self.settings.lease_seconds
        with self.database.transaction() as session:
            rows = claim(session, kinds=kinds, limit=limit, lease_s=lease_s)
        return [
            _Job(
                id=row.id,
                user_id=row.user_id,
                kind=row.kind,
                metering_point_id=row.metering_point_id,
                fetched_until=row.fetched_until,
                fetch_hours=row.fetch_hours,
                attempts=row.attempts,
                lease_until=row.next_attempt_at,
            )
            for row in rows
        ]

    def _renew(self, job: _Job) -> None:
        """Hold the job for another lease, where it is still this run's."""
        if not job.lock.acquire(blocking=False):
            # Its end is being written.
            return
        lease = timedelta(seconds=self.settings.lease_seconds)
        try:
            with self.database.transaction() as session:
                until = session.scalars(
                    update(DataHubJob)
                    .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
                    .values(next_attempt_at=func.now() + lease)
                    .returning(DataHubJob.next_attempt_at)
                ).one_or_none()
            if until is not None:
                job.lease_until, job.held_since = until, time.monotonic()
        finally:
            job.lock.release()

    def _do(self, job: _Job) -> None:
        match job.kind:
            case "send_key":
                self._send_key(job)
            case "subscribe_metering_points":
                self._subscribe_metering_points(job)
            case "subscribe_ggos":
                self._subscribe_ggos(job)
            case "import_metering_points":
                self._import_metering_points(job)
            case "fetch_ggos":
                self._fetch_ggos(job)

    def _run(self, job: _Job) -> None:
        begun = time.monotonic()
        try:
            self._do(job)
        except TokensSpent:
            self._park(job)
        except OriginError as error:
            log.warning("DataHub job %s (%s) failed: %s", job.id, job.kind, error)
            self._retry(job, str(error), time.monotonic() - begun)
        except Exception as error:
            # Whatever it is, it must neither stop the other jobs nor end this one.
            log.exception("DataHub job %s (%s) failed", job.id, job.kind)
            self._retry(job, type(error).__name__, time.monotonic() - begun)
        else:
            self._end(job)

    def _end(self, job: _Job) -> None:
        """The job is done, unless it was asked for again while it ran."""
        with job.lock, self.database.transaction() as session:
            session.execute(
                delete(DataHubJob).where(
                    DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until
                )
            )

    def _retry(self, job: _Job, reason: str, took_s: float) -> None:
        """Try again later, and not sooner than as much time has passed again as the attempt took."""
        delay_s = max(backoff_s(self.settings.datahub_retry_delay, job.attempts), took_s)
        self._change(
            job,
            next_attempt_at=func.now() + timedelta(seconds=delay_s),
            last_error=reason,
            fetch_hours=job.fetch_hours,
        )

    def _park(self, job: _Job) -> None:
        """Wait for the user's next login, which makes the job due.

        Had it come meanwhile, the job would be due already, and isn't touched.
        """
        self._change(job, next_attempt_at=None, last_error="the user must log in again")
        log.info("DataHub job %s (%s) waits for user %s to log in", job.id, job.kind, job.user_id)

    def _change(self, job: _Job, **values: Any) -> bool:
        """Change the job's row; False where it is no longer this run's."""
        with job.lock, self.database.transaction() as session:
            changed = session.scalars(
                update(DataHubJob)
                .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
                .values(values)
                .returning(DataHubJob.id)
            ).one_or_none()
        return changed is not None

    def _send_key(self, job: _Job) -> None:
        with self.database.reading() as session:
            row = session.execute(
                select(User.subject, User.master_key, MeteringPoint.gsrn, MeteringPoint.key_index)
                .join(MeteringPoint, MeteringPoint.user_id == User.id)
                .where(MeteringPoint.id == job.metering_point_id)
            ).one()
        master = ExtendedKey.from_base58(
            self.sealer.open(row.master_key, master_key_context(row.subject))
        )
        key = metering_point_key(master, row.key_index).base58()
        self.user_tokens.with_user_token(
            job.user_id, lambda token: self.datahub.set_key(token, row.gsrn, key)
        )
        with self.database.transaction() as session:
            session.execute(
                update(MeteringPoint)
                .where(MeteringPoint.id == job.metering_point_id)
                .values(key_sent_at=func.now())
            )

    def _subscribe_metering_points(self, job: _Job) -> None:
        was_subscribed = self._subscribe(job, "on-meteringpoint-available")
        if job.attempts == 1 and not was_subscribed:
            return
        # For a while no webhook has told what appeared: the first import may have been too early.
        with self.database.transaction() as session:
            enqueue(session, job.user_id, ["import_metering_points"])

    def _subscribe_ggos(self, job: _Job) -> None:
        self._subscribe(job, "on-ggo-issued")
        # From here on webhooks tell of what is issued; of what was issued before, none did.
        with self.database.transaction() as session:
            producing = select(MeteringPoint.id).where(
                MeteringPoint.user_id == job.user_id, MeteringPoint.type == "production"
            )
            enqueue_points(session, job.user_id, "fetch_ggos", session.scalars(producing).all())

    def _subscribe(self, job: _Job, event: WebhookEvent) -> bool:
        """Subscribe, after unsubscribing what was subscribed before: DataHub would tell each of them.

        :returns: Whether there was a subscription before.
        """
        settings = self.settings
        body = {
            "url": f"{settings.project_url}/webhook/{event}",
            "secret": settings.webhook_secret.get_secret_value(),
        }

        def anew(token: str) -> bool:
            try:
                was_subscribed = self.datahub.unsubscribe(token, event, **body)
            except PeerMisbehaved as error:
                # Events that come twice do no harm; events that don't come do.
                log.warning("Subscribing to %s without unsubscribing: %s", event, error)
                was_subscribed = False
            self.datahub.subscribe(token, event, **body)
            return was_subscribed

        return self.user_tokens.with_user_token(job.user_id, anew)

    def _import_metering_points(self, job: _Job) -> None:
        """Add the user's points that DataHub knows, and issue all GGOs that waited for points.

        :raises PeerMisbehaved: not all are as documented; the others are added all the same.
        """
        with self.database.reading() as session:
            known = metering_points.described(session, job.user_id)
        points = self.user_tokens.with_user_token(job.user_id, self.datahub.metering_points)
        events = [
            MeteringPointEvent(point.gsrn, point.type, point.sector) for point in points.valid
        ]
        self.forgotten_points.keep_proven_indexes(job.user_id, events)
        with self.outbox.transaction() as session:
            owner = _owner(session, job.user_id)
            metering_points.store(session, self.sealer, owner, events, asked_when=known)
        self.wakeups.datahub_jobs_due()
        has_more = True
        while has_more:
            with self.outbox.transaction() as session:
                lock_user(session, owner.id)
                has_more = apply_ggos(session, self.sealer, owner)
        if points.invalid:
            raise PeerMisbehaved("DataHubService", "; ".join(points.invalid[:_ODD_ROWS_TOLD]))

    def _fetch_ggos(self, job: _Job) -> None:
        """Fetch what was issued to the point, a month at a time; how far it has come is kept.

        Where that fails, the next attempt asks for half as much.
        """
        point_id = cast("int", job.metering_point_id)
        deadline = Deadline(FETCH_RUN_S)
        begin = job.fetched_until or FIRST_BEGIN
        months = self.back_fill.busy_months(point_id, begin)
        while True:
            begun = time.monotonic()
            end = end_of_stretch(begin, utcnow(), months=months, hours=job.fetch_hours)
            try:
                until = self.back_fill.fetch(point_id, begin, end)
            except PeerError:
                job.fetch_hours = shorter(begin, end)
                raise
            if until is None:
                return
            job.fetch_hours = longer(job.fetch_hours, time.monotonic() - begun)
            is_over = deadline.is_over()
            if not self._has_come_to(job, until, is_over=is_over) or is_over:
                # The job isn't this run's any more, and stays.
                return
            begin = until

    def _has_come_to(self, job: _Job, until: datetime, *, is_over: bool) -> bool:
        """Keep how far a fetch has come; False where the job is no longer this run's."""
        job.attempts = 1
        values = {"fetched_until": until, "fetch_hours": job.fetch_hours, "attempts": 0}
        return self._change(job, **values, **({"next_attempt_at": func.now()} if is_over else {}))


def _owner(session: Session, user_id: int) -> Owner:
    user = session.get_one(User, user_id)
    return Owner(user.id, user.subject, user.master_key, user.disabled_at is None)
