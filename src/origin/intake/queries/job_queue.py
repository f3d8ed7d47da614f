"""Jobs at DataHub as queue entries, claimed in turns.

A row is due when its `next_attempt_at` has passed. Claiming moves that time one lease ahead, so that
a dead worker's rows come due again. The end of the lease is the holder's token: a worker that comes
back after it changes nothing more. PostgreSQL's clock decides, not the machines'.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

_SPARE = 8
"""So many times the limit are candidates, for those that other claimers hold at this moment."""

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
    """Take up to `limit` due jobs of these kinds; two claimers never get the same.

    Kinds take turns, and in each kind what is new and what has failed before; in each of these the
    users, each user's longest due first. So a new user's key is behind at most one job of every
    user whose key is new, whatever else waits or fails.

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
