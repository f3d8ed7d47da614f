"""Enqueues jobs for DataHub, in the transaction that makes them necessary.

`origin.intake.service.jobs` runs them.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.models import DataHubJob

PointJobKind = Literal["send_key", "fetch_ggos"]
# One flat Literal, so that `get_args` returns the kinds themselves.
JobKind = Literal[
    PointJobKind, "subscribe_metering_points", "subscribe_ggos", "import_metering_points"
]

NEW_USER_JOBS: Sequence[JobKind] = (
    "subscribe_metering_points",
    "subscribe_ggos",
    "import_metering_points",
)


def enqueue(session: Session, user_id: int, kinds: Iterable[JobKind]) -> None:
    """Enqueue jobs of these kinds for the user. A job that exists already becomes due and starts over.

    Call `Wakeups.datahub_jobs_due` after the commit.
    """
    _upsert(session, [{"user_id": user_id, "kind": kind} for kind in kinds])


def enqueue_points(
    session: Session, user_id: int, kind: PointJobKind, metering_point_ids: Iterable[int]
) -> None:
    """Enqueue a job for each of these metering points of the user; see `enqueue`."""
    _upsert(
        session,
        [
            {"user_id": user_id, "kind": kind, "metering_point_id": each}
            for each in metering_point_ids
        ],
    )


def make_due(session: Session, user_id: int) -> None:
    """Make all jobs of this user due now, because a login brought new tokens."""
    session.execute(
        update(DataHubJob)
        .where(DataHubJob.user_id == user_id)
        .values(next_attempt_at=func.now(), attempts=0)
    )


def _upsert(session: Session, rows: list[dict[str, object]]) -> None:
    if not rows:
        return
    session.execute(
        insert(DataHubJob)
        .values(rows)
        .on_conflict_do_update(
            index_elements=["user_id", "kind", "metering_point_id"],
            set_={
                "next_attempt_at": func.now(),
                "attempts": 0,
                "fetched_until": None,
                "fetch_hours": None,
            },
        )
    )
