"""Work at DataHub on users' behalf: done when due, tried again until it succeeds."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from origin.clients.datahub import WebhookEvent
from origin.db.encryption import master_key_context
from origin.db.locks import lock_user
from origin.db.models import DataHubJob, MeteringPoint, User
from origin.db.queue import claim
from origin.domain.events import FIRST_BEGIN, MeteringPointEvent
from origin.domain.keys import Key, metering_point_key
from origin.domain.retries import backoff_s
from origin.errors import OriginError, PeerMisbehaved, TokensSpent
from origin.runtime import Runtime
from origin.services import deliveries, metering_points, recovery_points
from origin.services.datahub_queue import JobKind, enqueue, enqueue_points
from origin.services.fetched_ggos import fetch
from origin.services.issued_ggos import Owner
from origin.services.kept_events import apply_ggos
from origin.services.tokens import with_user_token

PARALLEL = 8
"""Jobs at a time. Each has a database connection for moments only, so that few are enough."""
MAX_RUN_S = 20.0
"""After this time a run takes up no more, so that a DataHub that hangs holds up nothing else."""
FETCH_RUN_S = 10.0
"""After this time a fetch of GGOs lets other jobs go first."""

_ODD_ROWS_TOLD = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A claimed job; `lease_until` tells whether it is still the same that was claimed."""

    id: int
    user_id: int
    kind: JobKind
    metering_point_id: int | None
    fetched_until: datetime | None
    attempts: int
    lease_until: datetime


def run_due(runtime: Runtime) -> int:
    """Do the jobs that are due, a few at a time, until none is left or 20 s have passed.

    :returns: How many were done, successfully or not.
    """
    started = time.monotonic()
    count = 0
    with ThreadPoolExecutor(PARALLEL) as pool:
        while time.monotonic() - started < MAX_RUN_S:
            jobs = _claim(runtime)
            if not jobs:
                break
            # All are waited for; only a database that is away can make one raise.
            count += len(list(pool.map(lambda job: _run(runtime, job), jobs)))
    return count


def _claim(runtime: Runtime) -> list[_Job]:
    with runtime.database.transaction() as session:
        ids = claim(session, DataHubJob, limit=PARALLEL, lease_s=runtime.settings.lease_seconds)
        rows = session.execute(
            select(
                DataHubJob.id,
                DataHubJob.user_id,
                DataHubJob.kind,
                DataHubJob.metering_point_id,
                DataHubJob.fetched_until,
                DataHubJob.attempts,
                DataHubJob.next_attempt_at,
            ).where(DataHubJob.id.in_(ids))
        )
        return [
            _Job(
                id=row.id,
                user_id=row.user_id,
                kind=cast("JobKind", row.kind),
                metering_point_id=row.metering_point_id,
                fetched_until=row.fetched_until,
                attempts=row.attempts,
                lease_until=cast("datetime", row.next_attempt_at),
            )
            for row in rows
        ]


def _run(runtime: Runtime, job: _Job) -> None:
    try:
        _WORK[job.kind](runtime, job)
    except TokensSpent:
        _park(runtime, job)
    except OriginError as error:
        log.warning("DataHub job %s (%s) failed: %s", job.id, job.kind, error)
        _retry(runtime, job, str(error))
    except Exception as error:
        # Whatever it is, it must neither stop the other jobs nor end this one.
        log.exception("DataHub job %s (%s) failed", job.id, job.kind)
        _retry(runtime, job, type(error).__name__)
    else:
        with runtime.database.transaction() as session:
            _end(session, job)


def _end(session: Session, job: _Job) -> None:
    """The job is done, unless it was asked for again while it ran."""
    session.execute(
        delete(DataHubJob)
        .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
        .execution_options(synchronize_session=False)
    )


def _retry(runtime: Runtime, job: _Job, reason: str) -> None:
    delay_s = backoff_s(runtime.settings.datahub_retry_delay, job.attempts)
    with runtime.database.transaction() as session:
        session.execute(
            update(DataHubJob)
            .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
            .values(next_attempt_at=func.now() + timedelta(seconds=delay_s), last_error=reason)
            .execution_options(synchronize_session=False)
        )


def _park(runtime: Runtime, job: _Job) -> None:
    """Wait for the user's next login, which makes the job due.

    Had it come meanwhile, the job would be due already, and isn't touched.
    """
    with runtime.database.transaction() as session:
        session.execute(
            update(DataHubJob)
            .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
            .values(next_attempt_at=None, last_error="the user must log in again")
            .execution_options(synchronize_session=False)
        )
    log.info("DataHub job %s (%s) waits for user %s to log in", job.id, job.kind, job.user_id)


def _send_key(runtime: Runtime, job: _Job) -> None:
    with runtime.database.reading() as session:
        row = session.execute(
            select(User.subject, User.master_key, MeteringPoint.gsrn, MeteringPoint.key_index)
            .join(MeteringPoint, MeteringPoint.user_id == User.id)
            .where(MeteringPoint.id == job.metering_point_id)
        ).one()
    master = Key.from_base58(runtime.sealer.open(row.master_key, master_key_context(row.subject)))
    key = metering_point_key(master, row.key_index).base58()
    with_user_token(
        runtime, job.user_id, lambda token: runtime.datahub.set_key(token, row.gsrn, key)
    )
    with runtime.database.transaction() as session:
        session.execute(
            update(MeteringPoint)
            .where(MeteringPoint.id == job.metering_point_id)
            .values(key_sent_at=func.now())
            .execution_options(synchronize_session=False)
        )


def _subscribe_metering_points(runtime: Runtime, job: _Job) -> None:
    _subscribe(runtime, job, "on-meteringpoint-available")
    if job.attempts == 1:
        return
    # It took a while, in which no webhook has told what appeared: the first import may have been
    # too early.
    with runtime.database.transaction() as session:
        enqueue(session, job.user_id, ["import_metering_points"])


def _subscribe_ggos(runtime: Runtime, job: _Job) -> None:
    _subscribe(runtime, job, "on-ggo-issued")
    # From here on webhooks tell of what is issued; of what was issued before, none did.
    with runtime.database.transaction() as session:
        producing = select(MeteringPoint.id).where(
            MeteringPoint.user_id == job.user_id, MeteringPoint.type == "production"
        )
        enqueue_points(session, job.user_id, "fetch_ggos", session.scalars(producing).all())


def _subscribe(runtime: Runtime, job: _Job, event: WebhookEvent) -> None:
    settings = runtime.settings
    with_user_token(
        runtime,
        job.user_id,
        lambda token: runtime.datahub.subscribe(
            token,
            event,
            url=f"{settings.project_url}/webhook/{event}",
            secret=settings.webhook_secret.value,
        ),
    )


def _import_metering_points(runtime: Runtime, job: _Job) -> None:
    """Add the user's points that DataHub knows, and issue all GGOs that waited for points.

    :raises PeerMisbehaved: not all are as documented; the others are added all the same.
    """
    with runtime.database.reading() as session:
        known = metering_points.described(session, job.user_id)
    points = with_user_token(runtime, job.user_id, runtime.datahub.metering_points)
    events = [MeteringPointEvent(point.gsrn, point.type, point.sector) for point in points.good]
    recovery_points.keep_proven_indexes(runtime, job.user_id, events)
    with deliveries.transaction(runtime) as session:
        owner = _owner(session, job.user_id)
        metering_points.store(session, runtime.sealer, owner, events, asked_when=known)
    runtime.hints.datahub_jobs_due()
    has_more = True
    while has_more:
        with deliveries.transaction(runtime) as session:
            lock_user(session, owner.id)
            has_more = apply_ggos(session, runtime.sealer, owner)
    if points.odd:
        raise PeerMisbehaved("DataHubService", "; ".join(points.odd[:_ODD_ROWS_TOLD]))


def _fetch_ggos(runtime: Runtime, job: _Job) -> None:
    """Fetch what was issued to the point, year by year; how far it has come is kept."""
    started = time.monotonic()
    begin = job.fetched_until or FIRST_BEGIN
    while (until := fetch(runtime, cast("int", job.metering_point_id), begin)) is not None:
        is_over = time.monotonic() - started > FETCH_RUN_S
        if not _has_come_to(runtime, job, until, is_over=is_over) or is_over:
            return
        begin = until


def _has_come_to(runtime: Runtime, job: _Job, until: datetime, *, is_over: bool) -> bool:
    """Keep how far a fetch has come; False where the job is no longer this run's."""
    values: dict[str, Any] = {"fetched_until": until}
    if is_over:
        values |= {"next_attempt_at": func.now(), "attempts": 0}
    with runtime.database.transaction() as session:
        kept = session.scalars(
            update(DataHubJob)
            .where(DataHubJob.id == job.id, DataHubJob.next_attempt_at == job.lease_until)
            .values(values)
            .returning(DataHubJob.id)
            .execution_options(synchronize_session=False)
        )
        return kept.one_or_none() is not None


def _owner(session: Session, user_id: int) -> Owner:
    user = session.get_one(User, user_id)
    return Owner(user.id, user.subject, user.master_key, user.disabled_at is None)


_WORK: dict[JobKind, Callable[[Runtime, _Job], None]] = {
    "send_key": _send_key,
    "subscribe_metering_points": _subscribe_metering_points,
    "subscribe_ggos": _subscribe_ggos,
    "import_metering_points": _import_metering_points,
    "fetch_ggos": _fetch_ggos,
}
