"""Look up the account of a token, and read and write accounts' stored tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.leases import is_free, lease_end
from origin.db.models import User


def active_user_id(database: Database, subject: str) -> int | None:
    """Return the id of this subject's account, None if it has none or a disabled one."""
    # Every request asks this: a prepared statement is the cheapest way.
    rows = database.prepared(
        "SELECT id FROM users WHERE subject = %(subject)s AND disabled_at IS NULL",
        {"subject": subject},
    )
    return rows[0][0] if rows else None


@dataclass(frozen=True, repr=False)
class SealedTokens:
    """A user's tokens as stored, sealed.

    :ivar is_refused: Hydra has refused the refresh token.
    """

    subject: str
    access_token: str | None
    refresh_token: str | None
    expires_at: datetime | None
    is_refused: bool


def sealed_tokens_of(session: Session, user_id: int) -> SealedTokens:
    """Return the tokens of the user with this id, who must exist."""
    row = session.execute(
        select(
            User.subject,
            User.access_token,
            User.refresh_token,
            User.token_expires_at,
            User.tokens_refused_at,
        ).where(User.id == user_id)
    ).one()
    return SealedTokens(
        subject=row.subject,
        access_token=row.access_token,
        refresh_token=row.refresh_token,
        expires_at=row.token_expires_at,
        is_refused=row.tokens_refused_at is not None,
    )


def users_with_expiring_tokens(
    session: Session, *, before: datetime, beyond_id: int, limit: int
) -> list[tuple[int, datetime]]:
    """Return active users whose tokens expire before then and can be refreshed, with the time.

    :param beyond_id: Only users with a greater id, in the order of their ids.
    """
    rows = session.execute(
        select(User.id, User.token_expires_at)
        .where(
            User.id > beyond_id,
            User.token_expires_at < before,
            User.refresh_token.is_not(None),
            User.tokens_refused_at.is_(None),
            User.disabled_at.is_(None),
        )
        .order_by(User.id)
        .limit(limit)
    )
    return [(row.id, row.token_expires_at) for row in rows]


def users_with_refused_tokens(session: Session) -> Sequence[int]:
    """Return the ids of active users whose refresh token Hydra has refused."""
    return session.scalars(
        select(User.id)
        .where(
            User.tokens_refused_at.is_not(None),
            User.refresh_token.is_not(None),
            User.disabled_at.is_(None),
        )
        .order_by(User.id)
    ).all()


def lease_refresh(session: Session, user_id: int, lease_s: float) -> datetime | None:
    """Lease the refresh of a user's tokens.

    :returns: When the lease ends; None if another process holds it.
    """
    return session.scalars(
        update(User)
        .where(User.id == user_id, is_free(User.refreshing_until))
        .values(refreshing_until=lease_end(lease_s))
        .returning(User.refreshing_until)
    ).one_or_none()


def end_refresh_lease(session: Session, user_id: int, lease_until: datetime) -> None:
    """End a lease, unless another process holds it by now."""
    session.execute(
        update(User)
        .where(User.id == user_id, User.refreshing_until == lease_until)
        .values(refreshing_until=None)
    )


def store_tokens(session: Session, user_id: int, columns: Mapping[str, Any]) -> None:
    """Store fresh tokens, by the columns' names, and clear the mark of a refusal."""
    session.execute(
        update(User).where(User.id == user_id).values(tokens_refused_at=None, **columns)
    )


def mark_refused(session: Session, user_id: int) -> None:
    """Record that Hydra has refused the user's refresh token."""
    session.execute(update(User).where(User.id == user_id).values(tokens_refused_at=func.now()))
