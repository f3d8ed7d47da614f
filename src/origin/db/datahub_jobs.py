"""Asking for work at DataHub: rows that are written in the transaction that makes them needed."""

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

OF_A_NEW_USER: Sequence[JobKind] = (
    "subscribe_metering_points",
    "subscribe_ggos",
    "import_metering_points",
)


def enqueue(session: Session, user_id: int, kinds: Iterable[JobKind]) -> None:
    """Have these done for the user; what is asked for already becomes due now.

    Call `hints.datahub_jobs_due()` after the commit.
    """
    _upsert(session, [{"user_id": user_id, "kind": kind} for kind in kinds])


def enqueue_points(
    session: Session, user_id: int, kind: PointJobKind, metering_point_ids: Iterable[int]
) -> None:
    """Have this done for each of the user's metering points, as `enqueue`."""
    _upsert(
        session,
        [
            {"user_id": user_id, "kind": kind, "metering_point_id": each}
            for each in metering_point_ids
        ],
    )


def make_due(session: Session, user_id: int) -> None:
    """Take up now whatever waits for this user, as a login has brought fresh tokens."""
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
