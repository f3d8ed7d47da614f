"""Look up the user and the metering point that GGOs are issued to."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import MeteringPoint, User


@dataclass(frozen=True)
class Owner:
    """The user to whom GGOs are issued. A disabled user still gets what is issued to them."""

    id: int
    subject: str
    sealed_master_key: str
    is_active: bool


@dataclass(frozen=True)
class MeteringPointRef:
    """A metering point: whose it is, and the i of its key `m/1/i`."""

    owner_id: int
    gsrn: str
    key_index: int


_OWNER = (User.id, User.subject, User.master_key, User.disabled_at)


def find_owner(session: Session, subject: str) -> Owner | None:
    """Return the user of this subject, also a disabled one; None if there is none."""
    return find_owner_and_point(session, subject, None)[0]


def owner_of(session: Session, user_id: int) -> Owner:
    """Return the user with this id, which must exist."""
    row = session.execute(select(*_OWNER).where(User.id == user_id)).one()
    return Owner(row.id, row.subject, row.master_key, row.disabled_at is None)


def find_owner_and_point(
    session: Session, subject: str, gsrn: str | None
) -> tuple[Owner | None, MeteringPointRef | None]:
    """Return the user of this subject, and the metering point of this GSRN.

    The point may belong to another user. Without a user no point is returned.
    """
    row = session.execute(
        select(*_OWNER, MeteringPoint.user_id, MeteringPoint.key_index)
        .outerjoin(MeteringPoint, MeteringPoint.gsrn == gsrn)
        .where(User.subject == subject)
    ).one_or_none()
    if row is None:
        return None, None
    owner = Owner(row.id, row.subject, row.master_key, row.disabled_at is None)
    if gsrn is None or row.user_id is None:
        return owner, None
    return owner, MeteringPointRef(row.user_id, gsrn, row.key_index)


def owner_and_point_of(session: Session, metering_point_id: int) -> tuple[Owner, MeteringPointRef]:
    """Return the metering point with this id, which must exist, and its owner."""
    row = session.execute(
        select(*_OWNER, MeteringPoint.gsrn, MeteringPoint.key_index)
        .join(MeteringPoint, MeteringPoint.user_id == User.id)
        .where(MeteringPoint.id == metering_point_id)
    ).one()
    owner = Owner(row.id, row.subject, row.master_key, row.disabled_at is None)
    return owner, MeteringPointRef(owner.id, row.gsrn, row.key_index)


_OWN_POINT = """
SELECT owner.id, owner.master_key, owner.disabled_at IS NULL, point.key_index
FROM users AS owner JOIN metering_points AS point ON point.user_id = owner.id
WHERE owner.subject = %(subject)s AND point.gsrn = %(gsrn)s
"""


def find_own_point(
    database: Database, subject: str, gsrn: str
) -> tuple[Owner, MeteringPointRef] | None:
    """Return the subject's metering point of this GSRN and its owner; None if there is none.

    Each process asks this once for every metering point. The statement is prepared, for speed.
    """
    rows = database.prepared(_OWN_POINT, {"subject": subject, "gsrn": gsrn})
    if not rows:
        return None
    user_id, sealed_master_key, is_active, key_index = rows[0]
    owner = Owner(user_id, subject, sealed_master_key, is_active)
    return owner, MeteringPointRef(user_id, gsrn, key_index)
