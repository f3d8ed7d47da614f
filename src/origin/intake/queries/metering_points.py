"""Read and write users' metering points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from origin.db.models import MeteringPoint, Recovery, User
from origin.intake.rules.events import MeteringPointEvent

TypeAndSector = tuple[str, str]


@dataclass(frozen=True)
class StoredPoint:
    """A metering point as it is stored."""

    id: int
    user_id: int
    type_and_sector: TypeAndSector


@dataclass(frozen=True)
class UsedIndexes:
    """The key indexes i of `m/1/i` that a user's metering points have, and the next to hand out."""

    used: set[int]
    next: int


def types_and_sectors(session: Session, user_id: int) -> dict[str, TypeAndSector]:
    """Return type and sector of the user's metering points, by GSRN."""
    rows = session.execute(
        select(MeteringPoint.gsrn, MeteringPoint.type, MeteringPoint.sector).where(
            MeteringPoint.user_id == user_id
        )
    )
    return {row.gsrn: (row.type, row.sector) for row in rows}


def points_with(session: Session, gsrns: Iterable[str]) -> dict[str, StoredPoint]:
    """Return the metering points of any user that have these GSRNs."""
    rows = session.execute(
        select(
            MeteringPoint.gsrn,
            MeteringPoint.id,
            MeteringPoint.user_id,
            MeteringPoint.type,
            MeteringPoint.sector,
        ).where(MeteringPoint.gsrn.in_(list(gsrns)))
    )
    return {row.gsrn: StoredPoint(row.id, row.user_id, (row.type, row.sector)) for row in rows}


def key_indexes_of(session: Session, gsrns: Iterable[str]) -> dict[str, int]:
    """Return the key indexes of these metering points, by GSRN."""
    rows = session.execute(
        select(MeteringPoint.gsrn, MeteringPoint.key_index).where(
            MeteringPoint.gsrn.in_(list(gsrns))
        )
    )
    return {row.gsrn: row.key_index for row in rows}


def used_indexes(session: Session, user_id: int) -> UsedIndexes:
    """Return which key indexes the user's metering points have."""
    used = session.scalars(select(MeteringPoint.key_index).where(MeteringPoint.user_id == user_id))
    next_index = select(User.next_metering_point_index).where(User.id == user_id)
    return UsedIndexes(set(used), session.scalars(next_index).one())


def producing_points(session: Session, user_id: int) -> Sequence[int]:
    """Return the ids of the user's production metering points."""
    return session.scalars(
        select(MeteringPoint.id).where(
            MeteringPoint.user_id == user_id, MeteringPoint.type == "production"
        )
    ).all()


def add_points(
    session: Session, user_id: int, points: Sequence[MeteringPointEvent]
) -> dict[str, int]:
    """Insert metering points under the user's next key indexes.

    A GSRN that another user has by now is left out. Its key index is never used again.

    :returns: The ids of the new points, by GSRN.
    """
    if not points:
        return {}
    next_index = session.scalars(
        update(User)
        .where(User.id == user_id)
        .values(next_metering_point_index=User.next_metering_point_index + len(points))
        .returning(User.next_metering_point_index)
    ).one()
    rows = [
        _row(user_id, point, key_index)
        for key_index, point in enumerate(points, next_index - len(points))
    ]
    added = session.execute(
        insert(MeteringPoint)
        .on_conflict_do_nothing(index_elements=["gsrn"])
        .returning(MeteringPoint.gsrn, MeteringPoint.id),
        # Sorted, so that two users who claim the same points do not deadlock.
        sorted(rows, key=lambda row: str(row["gsrn"])),
    )
    return {row.gsrn: row.id for row in added}


def add_points_of_known_index(
    session: Session, user_id: int, points: Mapping[int, MeteringPointEvent]
) -> Sequence[int]:
    """Insert metering points by key index; DataHub has their keys already.

    A GSRN or a key index that is taken by now is left out. The user's next key index moves past
    all of them.

    :returns: The ids of those of these GSRNs that produce.
    """
    rows = [
        _row(user_id, point, key_index) | {"key_sent_at": func.now()}
        for key_index, point in points.items()
    ]
    session.execute(insert(MeteringPoint).values(rows).on_conflict_do_nothing())
    beyond = max(points) + 1
    session.execute(
        update(User)
        .where(User.id == user_id, User.next_metering_point_index < beyond)
        .values(next_metering_point_index=beyond)
    )
    gsrns = [point.gsrn for point in points.values()]
    return session.scalars(
        select(MeteringPoint.id).where(
            MeteringPoint.gsrn.in_(gsrns), MeteringPoint.type == "production"
        )
    ).all()


def correct_point(session: Session, point: MeteringPointEvent) -> None:
    """Update a metering point's type and sector."""
    session.execute(
        update(MeteringPoint)
        .where(MeteringPoint.gsrn == point.gsrn)
        .values(type=point.type, sector=point.sector)
    )


def key_to_send(session: Session, metering_point_id: int) -> Row[str, str, str, int]:
    """Return gsrn and key_index of a metering point, and subject and master_key of its owner."""
    return session.execute(
        select(User.subject, User.master_key, MeteringPoint.gsrn, MeteringPoint.key_index)
        .join(MeteringPoint, MeteringPoint.user_id == User.id)
        .where(MeteringPoint.id == metering_point_id)
    ).one()


def note_key_sent(session: Session, metering_point_id: int) -> None:
    """Record that DataHub has confirmed the metering point's key."""
    session.execute(
        update(MeteringPoint)
        .where(MeteringPoint.id == metering_point_id)
        .values(key_sent_at=func.now())
    )


def is_older_than_a_recovery(session: Session, user_id: int) -> bool:
    """Tell whether the account is older than a recovery of the database, or unknown.

    If so, DataHub may have keys of indexes that the database no longer knows.
    """
    made = select(User.created_at).where(User.id == user_id).scalar_subquery()
    found = select(Recovery.id).where(or_(Recovery.started_at > made, made.is_(None))).limit(1)
    return session.scalar(found) is not None


def _row(user_id: int, point: MeteringPointEvent, key_index: int) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "gsrn": point.gsrn,
        "type": point.type,
        "sector": point.sector,
        "key_index": key_index,
    }
