"""SQL of recovery: users' metering points, and what their keys are derived from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from origin.db.models import MeteringPoint, User


@dataclass(frozen=True)
class UserPoints:
    """A user's sealed master key, and the key indexes of their metering points by GSRN."""

    subject: str
    sealed_master_key: str
    key_indexes: dict[str, int]


def points_of(session: Session, user_id: int) -> UserPoints:
    """Return a user's metering points."""
    user = session.get_one(User, user_id)
    rows = session.execute(
        select(MeteringPoint.gsrn, MeteringPoint.key_index).where(MeteringPoint.user_id == user_id)
    )
    return UserPoints(user.subject, user.master_key, {row.gsrn: row.key_index for row in rows})


def production_points(session: Session) -> list[tuple[int, str]]:
    """Return user id and GSRN of all production metering points."""
    rows = session.execute(
        select(MeteringPoint.user_id, MeteringPoint.gsrn).where(MeteringPoint.type == "production")
    )
    return [(row.user_id, row.gsrn) for row in rows]


def active_production_points(session: Session, beyond: int, since: datetime) -> Sequence[Row[Any]]:
    """Return the production metering points of active users with ids above this one, by id.

    :param since: When the recovery began.
    :returns: id, subject, gsrn, is_new (it was added since).
    """
    columns: tuple[Any, ...] = (
        MeteringPoint.id,
        User.subject,
        MeteringPoint.gsrn,
        (MeteringPoint.created_at >= since).label("is_new"),
    )
    return session.execute(
        select(*columns)
        .join(User, User.id == MeteringPoint.user_id)
        .where(
            MeteringPoint.type == "production",
            MeteringPoint.id > beyond,
            User.disabled_at.is_(None),
        )
        .order_by(MeteringPoint.id)
    ).all()
