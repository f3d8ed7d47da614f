"""Locks that keep transactions in line, held until each ends."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.db.models import User


def take_advisory_lock(session: Session, name: str) -> None:
    """Wait until no other transaction holds the lock of this name, then hold it."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def lock_subject(session: Session, subject: str) -> None:
    """Settle whether this subject has an account: held while one is made, or found missing."""
    take_advisory_lock(session, f"subject:{subject}")


def lock_user(session: Session, user_id: int) -> None:
    """Settle which metering points the user has: held while one is added, or found missing.

    Rows that refer to the user can still be written.
    """
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
