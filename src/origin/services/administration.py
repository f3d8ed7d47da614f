"""What operators ask and do about users."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.db.locks import lock_user
from origin.db.models import DataHubJob, Ggo, MeteringPoint, User
from origin.errors import OriginError
from origin.runtime import Runtime
from origin.services import tokens, users
from origin.services.datahub_queue import enqueue, enqueue_points

# Nothing secret is among them.
_USER_COLUMNS = (
    User.id,
    User.subject,
    User.created_at,
    User.last_login_at,
    User.disabled_at,
    User.token_expires_at,
    User.tokens_refused_at,
)


class UnknownUser(OriginError):
    """There is no account with that subject."""


@dataclass(frozen=True)
class Account:
    """One account: its state, metering points, work left at DataHub, and Wh stored."""

    user: Any
    points: Sequence[Any]
    jobs: Sequence[Any]
    stored_wh: int


def list_users(runtime: Runtime) -> Sequence[Any]:
    """Subject, dates and state of all accounts, oldest first."""
    with runtime.database.reading() as session:
        return session.execute(select(*_USER_COLUMNS).order_by(User.id)).all()


def show_user(runtime: Runtime, subject: str) -> Account:
    """Show one account.

    :raises UnknownUser: there is none.
    """
    with runtime.database.reading() as session:
        user = _find(session, subject)
        points = select(
            MeteringPoint.gsrn, MeteringPoint.type, MeteringPoint.sector, MeteringPoint.key_sent_at
        ).where(MeteringPoint.user_id == user.id)
        jobs = select(
            DataHubJob.kind,
            DataHubJob.next_attempt_at,
            DataHubJob.attempts,
            DataHubJob.last_error,
        ).where(DataHubJob.user_id == user.id)
        stored = select(func.sum(Ggo.amount)).where(Ggo.owner_id == user.id, Ggo.stored)
        return Account(
            user=user,
            points=session.execute(points.order_by(MeteringPoint.key_index)).all(),
            jobs=session.execute(jobs.order_by(DataHubJob.id)).all(),
            stored_wh=int(session.scalar(stored) or 0),
        )


def disable_user(runtime: Runtime, subject: str) -> bool:
    """Disable an account for good, as its owner can (contract: http-api, disable-user).

    :returns: False where it was disabled before.
    :raises UnknownUser: there is none.
    """
    with runtime.database.reading() as session:
        user = _find(session, subject)
    return users.disable(runtime, user.id)


def import_metering_points(runtime: Runtime, subject: str) -> None:
    """Have a worker import the user's metering points from DataHub.

    :raises UnknownUser: there is none.
    """
    with runtime.database.transaction() as session:
        enqueue(session, _find(session, subject).id, ["import_metering_points"])
    runtime.hints.datahub_jobs_due()


def resend_keys(runtime: Runtime, subject: str) -> int:
    """Have a worker send the keys of all of the user's metering points to DataHub again.

    :returns: how many.
    :raises UnknownUser: there is none.
    """
    with runtime.database.transaction() as session:
        user = _find(session, subject)
        lock_user(session, user.id)
        points = select(MeteringPoint.id).where(MeteringPoint.user_id == user.id)
        point_ids = session.scalars(points).all()
        enqueue_points(session, user.id, "send_key", point_ids)
    runtime.hints.datahub_jobs_due()
    return len(point_ids)


def refresh_tokens(runtime: Runtime, subject: str) -> None:
    """Renew a user's tokens, due or not.

    :raises UnknownUser: there is none.
    :raises TokensSpent: Hydra refuses; only a new login helps.
    :raises PeerError: Hydra can't say now.
    """
    with runtime.database.reading() as session:
        user = _find(session, subject)
    tokens.refresh_now(runtime, user.id)


def _find(session: Session, subject: str) -> Any:
    found = session.execute(select(*_USER_COLUMNS).where(User.subject == subject)).one_or_none()
    if found is None:
        raise UnknownUser(f"No account has the subject {subject}")
    return found
