"""Read, create, update and disable accounts."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from origin.db.models import DataHubJob, Ggo, MeteringPoint, User

# Operators see these: none is secret.
_PUBLIC_COLUMNS = (
    User.id,
    User.subject,
    User.created_at,
    User.last_login_at,
    User.disabled_at,
    User.token_expires_at,
    User.tokens_refused_at,
)


def list_users(session: Session, *, beyond: int, limit: int | None) -> Sequence[Any]:
    """Return id, subject, dates and state of accounts, oldest first.

    :param beyond: Only accounts with a higher id.
    :param limit: At most so many; None: all.
    """
    query = select(*_PUBLIC_COLUMNS).where(User.id > beyond).order_by(User.id).limit(limit)
    return session.execute(query).all()


def find_user(session: Session, subject: str) -> Any:
    """Return id, subject, dates and state of one account; None if there is none."""
    return session.execute(select(*_PUBLIC_COLUMNS).where(User.subject == subject)).one_or_none()


def active_user_ids(session: Session) -> Sequence[int]:
    """Return the ids of all active accounts, oldest first."""
    return session.scalars(
        select(User.id).where(User.disabled_at.is_(None)).order_by(User.id)
    ).all()


def metering_points_of(session: Session, user_id: int) -> Sequence[Any]:
    """Return gsrn, type, sector and key_sent_at of the user's metering points, by key index."""
    return session.execute(
        select(
            MeteringPoint.gsrn,
            MeteringPoint.type,
            MeteringPoint.sector,
            MeteringPoint.key_sent_at,
        )
        .where(MeteringPoint.user_id == user_id)
        .order_by(MeteringPoint.key_index)
    ).all()


def metering_point_ids_of(session: Session, user_id: int) -> Sequence[int]:
    """Return the ids of the user's metering points."""
    return session.scalars(select(MeteringPoint.id).where(MeteringPoint.user_id == user_id)).all()


def jobs_of(session: Session, user_id: int) -> Sequence[Any]:
    """Return kind, next_attempt_at, attempts and last_error of the user's DataHub jobs."""
    return session.execute(
        select(
            DataHubJob.kind,
            DataHubJob.next_attempt_at,
            DataHubJob.attempts,
            DataHubJob.last_error,
        )
        .where(DataHubJob.user_id == user_id)
        .order_by(DataHubJob.id)
    ).all()


def stored_wh(session: Session, user_id: int) -> int:
    """Return the sum of the user's stored GGOs, in Wh."""
    stored = select(func.sum(Ggo.amount)).where(Ggo.owner_id == user_id, Ggo.stored)
    return int(session.scalar(stored) or 0)


def lock_user_for_login(session: Session, subject: str) -> Any:
    """Lock the user of this subject; return id and disabled_at, or None if there is none."""
    return session.execute(
        select(User.id, User.disabled_at)
        .where(User.subject == subject)
        .with_for_update(key_share=True)
    ).one_or_none()


def create_user(
    session: Session, *, subject: str, sealed_master_key: str, token_columns: Mapping[str, Any]
) -> int:
    """Insert a user who has just logged in; return the id."""
    return session.scalars(
        insert(User)
        .values(
            subject=subject,
            master_key=sealed_master_key,
            last_login_at=func.now(),
            **token_columns,
        )
        .returning(User.id)
    ).one()


def record_login(session: Session, user_id: int, token_columns: Mapping[str, Any]) -> None:
    """Store the tokens of a login; Hydra's refusal of earlier ones no longer matters."""
    session.execute(
        update(User)
        .where(User.id == user_id)
        .values(last_login_at=func.now(), tokens_refused_at=None, **token_columns)
    )


def disable_user(session: Session, user_id: int) -> bool:
    """Disable an account: delete its tokens and DataHub jobs.

    :returns: False if it was disabled before.
    """
    # Waits for composes that rely on the account; later ones see that it is disabled.
    session.execute(select(User.id).where(User.id == user_id).with_for_update())
    disabled = session.scalars(
        update(User)
        .where(User.id == user_id, User.disabled_at.is_(None))
        .values(
            disabled_at=func.now(),
            access_token=None,
            refresh_token=None,
            token_expires_at=None,
        )
        .returning(User.id)
    ).one_or_none()
    if disabled is None:
        return False
    session.execute(delete(DataHubJob).where(DataHubJob.user_id == user_id))
    return True
