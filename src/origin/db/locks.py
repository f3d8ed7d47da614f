"""Locks that serialize transactions. Each is held until its transaction ends."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.db.models import User


def take_advisory_lock(session: Session, name: str) -> None:
    """Take the advisory lock of this name; waits while another transaction holds it."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def lock_subject(session: Session, subject: str) -> None:
    """Lock the question whether this subject has an account.

    Take it before an account is created, and before work that depends on its absence.
    """
    take_advisory_lock(session, f"subject:{subject}")


def lock_user(session: Session, user_id: int) -> None:
    """Lock the set of the user's metering points.

    Take it before a metering point is added, and before work that depends on its absence. Rows that
    refer to the user can still be written.
    """
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
