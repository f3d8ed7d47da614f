"""Rows as queue entries.

A row is due when its `next_attempt_at` has passed. Claiming moves that time one lease ahead, so a
worker that dies leaves the row to be claimed again; whoever finishes sets the time of the next
step, or clears it. PostgreSQL's clock decides, not the machines'.
"""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from origin.db.models import Batch, DataHubJob


def claim(
    session: Session, table: type[Batch | DataHubJob], *, limit: int, lease_s: float
) -> list[int]:
    """Take up to `limit` due rows, longest due first; two claimers never get the same row.

    :returns: the ids, ascending. Commit before working on them.
    """
    due = (
        select(table.id)
        .where(table.next_attempt_at <= func.now())
        .order_by(table.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = session.scalars(
        update(table)
        .where(table.id == due.c.id)
        .values(
            next_attempt_at=func.now() + timedelta(seconds=lease_s),
            attempts=table.attempts + 1,
        )
        .returning(table.id)
        .execution_options(synchronize_session=False)
    )
    return sorted(claimed)


def reschedule(
    session: Session, table: type[Batch | DataHubJob], delays_s: Mapping[int, float]
) -> None:
    """Make each row due again after so many seconds; one that has ended stays ended."""
    ids = sorted(delays_s)
    session.execute(
        text(
            f"UPDATE {table.__tablename__} AS due "
            "SET next_attempt_at = now() + make_interval(secs => later.delay_s) "
            "FROM unnest(CAST(:ids AS bigint[]), CAST(:delays AS float8[])) AS later (id, delay_s) "
            "WHERE due.id = later.id AND due.next_attempt_at IS NOT NULL"
        ),
        {"ids": ids, "delays": [delays_s[each] for each in ids]},
    )
