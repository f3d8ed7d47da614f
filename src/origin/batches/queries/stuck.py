"""Stuck batches: those that have not ended within BATCH_RESUBMIT_AFTER.

Batches are claimed here to post them again (`origin.batches.service.runner`), and listed here for
reconciliation to report (`origin.reconciliation.service.reconcile`).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, select, update
from sqlalchemy.orm import Session

from origin.db.models import Batch, Ggo


def is_stuck(resubmit_after_s: float) -> ColumnElement[bool]:
    """Return the condition: the batch has not ended so many seconds after its compose.

    Of an adopted batch: after its adoption. The time before was the original service's.
    """
    return and_(
        Batch.ended_at.is_(None),
        under_way_since() < func.now() - timedelta(seconds=resubmit_after_s),
    )


def under_way_since() -> ColumnElement[datetime]:
    """Return when this service has had the batch: since its compose, or since its adoption."""
    return func.coalesce(Batch.adopted_at, Batch.created_at)


def claim_stuck(
    session: Session, *, beyond: int, resubmit_after_s: float, limit: int, lease_s: float
) -> dict[int, datetime]:
    """Claim stuck batches, due or not. A worker that holds one of them loses it.

    :param beyond: Only ids above this one.
    :returns: as `origin.batches.queries.queue.claim_due`.
    """
    stuck = (
        select(Batch.id)
        .where(Batch.id > beyond, is_stuck(resubmit_after_s))
        .order_by(Batch.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("stuck")
    )
    claimed = session.execute(
        update(Batch)
        .where(Batch.id == stuck.c.id)
        .values(next_attempt_at=func.now() + timedelta(seconds=lease_s))
        .returning(Batch.id, Batch.next_attempt_at)
    )
    return dict(sorted((row.id, row.next_attempt_at) for row in claimed))


def list_stuck(session: Session, resubmit_after_s: float) -> list[Row[Any]]:
    """Return the stuck batches by id: id, ggo_id, state, since, address (the source's)."""
    columns: tuple[Any, ...] = (
        Batch.id,
        Batch.ggo_id,
        Batch.state,
        under_way_since().label("since"),
        Ggo.address,
    )
    found = session.execute(
        select(*columns)
        .join(Ggo, Ggo.id == Batch.ggo_id)
        .where(is_stuck(resubmit_after_s))
        .order_by(Batch.id)
    )
    return list(found)
