"""What operators ask and do about users."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.accounts.service import users
from origin.db.datahub_jobs import NEW_USER_JOBS, enqueue, enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.db.models import DataHubJob, Ggo, MeteringPoint, User
from origin.errors import OriginError
from origin.identity.service.tokens import UserTokens
from origin.shared.wakeups import Wakeups

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


@dataclass(eq=False)
class UnknownUser(OriginError):
    """There is no account with that subject."""

    subject: str


@dataclass(eq=False)
class DisabledUser(OriginError):
    """The account is disabled: nothing is done on its behalf."""

    subject: str


@dataclass(frozen=True)
class Account:
    """One account: its state, metering points, work left at DataHub, and Wh stored."""

    user: Any
    points: Sequence[Any]
    jobs: Sequence[Any]
    stored_wh: int


@dataclass(frozen=True)
class UserAdministration:
    """What operators ask about users, and have done to them."""

    database: Database
    wakeups: Wakeups
    user_tokens: UserTokens

    def list_users(self) -> Sequence[Any]:
        """Subject, dates and state of all accounts, oldest first."""
        with self.database.reading() as session:
            return session.execute(select(*_USER_COLUMNS).order_by(User.id)).all()

    def show_user(self, subject: str) -> Account:
        """Show one account.

        :raises UnknownUser: there is none.
        """
        with self.database.reading() as session:
            user = _find(session, subject)
            points = select(
                MeteringPoint.gsrn,
                MeteringPoint.type,
                MeteringPoint.sector,
                MeteringPoint.key_sent_at,
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

    def disable_user(self, subject: str) -> bool:
        """Disable an account for good, as its owner can (contract: http-api, disable-user).

        :returns: False where it was disabled before.
        :raises UnknownUser: there is none.
        """
        with self.database.reading() as session:
            user = _find(session, subject)
        return users.disable(self.database, user.id)

    def import_metering_points(self, subject: str | None) -> int:
        """Have a worker import a user's metering points from DataHub.

        :param subject: Whose; None: all active users'.
        :returns: Of how many users.
        :raises UnknownUser: there is none.
        :raises DisabledUser: its account is disabled.
        """
        return sum(self._for_each(subject, _ask_for_import))

    def resend_keys(self, subject: str | None) -> int:
        """Have a worker send the keys of all of a user's metering points to DataHub again.

        :returns: How many keys; else as `import_metering_points`.
        """
        return sum(self._for_each(subject, _ask_for_keys))

    def resubscribe(self, subject: str | None) -> int:
        """Have a worker subscribe anew at DataHub on a user's behalf, and ask for what was missed.

        The worker unsubscribes first, so that DataHub tells no event twice.

        For when PROJECT_URL or WEBHOOK_SECRET has changed, or DataHub has given up: it repeats a
        webhook for a day only. Metering points are imported, issued GGOs fetched.

        :returns: As `import_metering_points`.
        """
        return sum(self._for_each(subject, _ask_for_subscriptions))

    def _for_each(self, subject: str | None, do: Callable[[Session, int], int]) -> list[int]:
        with self.database.reading() as session:
            if subject is None:
                active = select(User.id).where(User.disabled_at.is_(None)).order_by(User.id)
                user_ids = list(session.scalars(active))
            else:
                user_ids = [_find_active(session, subject).id]
        done = []
        for user_id in user_ids:
            with self.database.transaction() as session:
                lock_user(session, user_id)
                done.append(do(session, user_id))
        self.wakeups.datahub_jobs_due()
        return done

    def refresh_tokens(self, subject: str) -> None:
        """Renew a user's tokens, due or not, refused before or not.

        :raises UnknownUser: there is none.
        :raises DisabledUser: its account is disabled.
        :raises TokensSpent: Hydra refuses; only a new login helps.
        :raises PeerError: Hydra can't say now.
        """
        with self.database.reading() as session:
            user = _find_active(session, subject)
        self.user_tokens.refresh_now(user.id)


def _ask_for_import(session: Session, user_id: int) -> int:
    enqueue(session, user_id, ["import_metering_points"])
    return 1


def _ask_for_subscriptions(session: Session, user_id: int) -> int:
    enqueue(session, user_id, NEW_USER_JOBS)
    return 1


def _ask_for_keys(session: Session, user_id: int) -> int:
    points = select(MeteringPoint.id).where(MeteringPoint.user_id == user_id)
    point_ids = session.scalars(points).all()
    enqueue_points(session, user_id, "send_key", point_ids)
    return len(point_ids)


def _find(session: Session, subject: str) -> Any:
    found = session.execute(select(*_USER_COLUMNS).where(User.subject == subject)).one_or_none()
    if found is None:
        raise UnknownUser(subject)
    return found


def _find_active(session: Session, subject: str) -> Any:
    user = _find(session, subject)
    if user.disabled_at is not None:
        raise DisabledUser(subject)
    return user
