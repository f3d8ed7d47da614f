"""The queue of DataHub jobs: claimed in turns, held by leases.

A job is due when its `next_attempt_at` has passed. A claim moves that time to the end of a lease, so
that the jobs of a dead worker become due again. The end of the lease is also the holder's token: a
worker that comes back after it changes nothing. PostgreSQL's clock decides, not the machines'.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, text, update
from sqlalchemy.orm import Session

from origin.db.models import DataHubJob

_SPARE = 8
"""A claim considers this many times its limit: other workers may hold some of the candidates."""

_CLAIM = text(
    """
    WITH ranked AS (
        SELECT id, kind, attempts > 0 AS again, next_attempt_at, row_number() OVER (
            PARTITION BY kind, attempts > 0, user_id ORDER BY next_attempt_at, id
        ) AS turn
        FROM datahub_jobs WHERE next_attempt_at <= now() AND kind = ANY(CAST(:kinds AS text[]))
    ), placed AS (
        SELECT id, again, row_number() OVER (
            PARTITION BY kind, again ORDER BY turn, next_attempt_at, id
        ) AS place
        FROM ranked
    ), candidates AS (
        SELECT * FROM placed ORDER BY place, again LIMIT :candidates
    ), due AS (
        SELECT job.id FROM candidates JOIN datahub_jobs AS job ON job.id = candidates.id
        WHERE job.next_attempt_at <= now()
        ORDER BY candidates.place, candidates.again
        LIMIT :limit
        FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE datahub_jobs AS job
    SET next_attempt_at = now() + :lease, attempts = job.attempts + 1
    FROM due WHERE job.id = due.id
    RETURNING job.id, job.user_id, job.kind, job.metering_point_id, job.fetched_until,
        job.fetch_hours, job.attempts, job.next_attempt_at
    """
)


def claim(
    session: Session, *, kinds: Sequence[str], limit: int, lease_s: float
) -> Sequence[Row[Any]]:
    """Lease up to `limit` due jobs of these kinds. Two workers never get the same job.

    Kinds take turns; within a kind, new jobs and jobs that have failed before take turns; within
    each of these, users take turns, each with the job that has been due longest. So a new user's key
    waits for at most one job of each other user with a new key, however many jobs wait or fail.

    :returns: id, user_id, kind, metering_point_id, fetched_until, fetch_hours, attempts (this one
        included) and next_attempt_at, the end of the lease. Commit before working on them.
    """
    return session.execute(
        _CLAIM,
        {
            "kinds": list(kinds),
            "limit": limit,
            "candidates": limit * _SPARE,
            "lease": timedelta(seconds=lease_s),
        },
    ).all()


def extend_lease(
    session: Session, job_id: int, lease_until: datetime, lease_s: float
) -> datetime | None:
    """Extend a lease; return its new end, or None if the job is no longer the holder's."""
    return session.scalars(
        update(DataHubJob)
        .where(*_held(job_id, lease_until))
        .values(next_attempt_at=func.now() + timedelta(seconds=lease_s))
        .returning(DataHubJob.next_attempt_at)
    ).one_or_none()


def end_job(session: Session, job_id: int, lease_until: datetime) -> None:
    """Delete a job, unless it is no longer the holder's: it was asked for again meanwhile."""
    session.execute(delete(DataHubJob).where(*_held(job_id, lease_until)))


def schedule_retry(
    session: Session,
    job_id: int,
    lease_until: datetime,
    *,
    delay_s: float,
    reason: str,
    fetch_hours: int | None,
) -> None:
    """Make a job due in `delay_s` seconds, if it is still the holder's."""
    _change(
        session,
        job_id,
        lease_until,
        next_attempt_at=func.now() + timedelta(seconds=delay_s),
        last_error=reason,
        fetch_hours=fetch_hours,
    )


def park(session: Session, job_id: int, lease_until: datetime, reason: str) -> None:
    """Clear the time of a job's next attempt, so that it waits for a login, if it is still the holder's."""
    _change(session, job_id, lease_until, next_attempt_at=None, last_error=reason)


def note_fetched(
    session: Session,
    job_id: int,
    lease_until: datetime,
    *,
    until: datetime,
    fetch_hours: int | None,
    is_due: bool,
) -> bool:
    """Record how far a fetch of GGOs has come, and restart the count of its attempts.

    :param is_due: Whether to end the lease, so that the job is due at once.
    :returns: False if the job is no longer the holder's.
    """
    values: dict[str, Any] = {"fetched_until": until, "fetch_hours": fetch_hours, "attempts": 0}
    if is_due:
        values["next_attempt_at"] = func.now()
    return _change(session, job_id, lease_until, **values)


def _held(job_id: int, lease_until: datetime) -> tuple[ColumnElement[bool], ...]:
    return DataHubJob.id == job_id, DataHubJob.next_attempt_at == lease_until


def _change(session: Session, job_id: int, lease_until: datetime, **values: Any) -> bool:
    changed = session.scalars(
        update(DataHubJob)
        .where(*_held(job_id, lease_until))
        .values(values)
        .returning(DataHubJob.id)
    ).one_or_none()
    return changed is not None
