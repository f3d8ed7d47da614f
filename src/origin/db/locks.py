"""Locks that serialize transactions. Each is held until its transaction ends."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.db.models import User


def take_advisory_lock(session: Session, name: str) -> None:
    """Take the advisory lock of this name; waits while another transaction holds it."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def lock_subject(session: Session, subject: str) -> None:
    """Serialize the transactions that depend on whether this subject has an account.

    Take this lock before you create the account, and before work that relies on its absence.
    """
    take_advisory_lock(session, f"subject:{subject}")


def lock_user(session: Session, user_id: int) -> None:
    """Serialize the transactions that depend on which metering points the user has.

    Take this lock before you add a metering point, and before work that relies on its absence. Other
    transactions can still write rows that refer to the user.
    """
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
