"""Operators list, show and disable accounts, and start work for them (`flask users`, `flask tokens`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from origin.accounts.queries import users as queries
from origin.accounts.service import users
from origin.db.datahub_jobs import NEW_USER_JOBS, enqueue, enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.errors import OriginError
from origin.identity.service.tokens import UserTokens
from origin.shared.wakeups import Wakeups


@dataclass(eq=False)
class UnknownUser(OriginError):
    """No account has this subject."""

    subject: str


@dataclass(eq=False)
class DisabledUser(OriginError):
    """The account is disabled, so no work is started for it."""

    subject: str


@dataclass(frozen=True)
class Account:
    """One account, as `origin.accounts.queries.users` returns its parts.

    :ivar stored_wh: The sum of its stored GGOs, in Wh.
    """

    user: Any
    points: Sequence[Any]
    jobs: Sequence[Any]
    stored_wh: int


@dataclass(frozen=True)
class UserAdministration:
    """Shows accounts to operators, disables them, and enqueues work for them."""

    database: Database
    wakeups: Wakeups
    user_tokens: UserTokens

    def list_users(self, *, after: str | None, limit: int | None) -> Sequence[Any]:
        """Return id, subject, dates and state of accounts, oldest first.

        :param after: Only accounts that were created after this subject's; None: all.
        :param limit: At most so many; None: all.
        :raises UnknownUser: No account has the subject `after`.
        """
        with self.database.reading() as session:
            beyond = 0 if after is None else _find(session, after).id
            return queries.list_users(session, beyond=beyond, limit=limit)

    def user_id(self, subject: str) -> int:
        """Return the id of an account, disabled or not.

        :raises UnknownUser: No account has this subject.
        """
        with self.database.reading() as session:
            return int(_find(session, subject).id)

    def show_user(self, subject: str) -> Account:
        """Return one account.

        :raises UnknownUser: No account has this subject.
        """
        with self.database.reading() as session:
            user = _find(session, subject)
            return Account(
                user=user,
                points=queries.metering_points_of(session, user.id),
                jobs=queries.jobs_of(session, user.id),
                stored_wh=queries.stored_wh(session, user.id),
            )

    def disable_user(self, subject: str) -> bool:
        """Disable an account for good, as its owner can (contract: http-api, disable-user).

        :returns: False if it was disabled before.
        :raises UnknownUser: No account has this subject.
        """
        with self.database.reading() as session:
            user = _find(session, subject)
        return users.disable(self.database, user.id)

    def import_metering_points(self, subject: str | None) -> int:
        """Have a worker import a user's metering points from DataHub.

        :param subject: None: of all active users.
        :returns: The number of users.
        :raises UnknownUser: No account has this subject.
        :raises DisabledUser: The account is disabled.
        """
        return sum(self._for_each(subject, _ask_for_import))

    def resend_keys(self, subject: str | None) -> int:
        """Have a worker send the keys of all of a user's metering points to DataHub again.

        Parameter and errors are those of `import_metering_points`.

        :returns: The number of keys.
        """
        return sum(self._for_each(subject, _ask_for_keys))

    def resubscribe(self, subject: str | None) -> int:
        """Have a worker subscribe a user at DataHub again, and fetch missed points and GGOs.

        The worker unsubscribes first, so that DataHub reports no event twice. It then imports
        metering points and fetches issued GGOs.

        Use it after PROJECT_URL or WEBHOOK_SECRET has changed, or after DataHub could not deliver
        webhooks for a day: then it gives them up.

        Parameter, result and errors are those of `import_metering_points`.
        """
        return sum(self._for_each(subject, _ask_for_subscriptions))

    def _for_each(self, subject: str | None, do: Callable[[Session, int], int]) -> list[int]:
        with self.database.reading() as session:
            if subject is None:
                user_ids = queries.active_user_ids(session)
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
        """Refresh a user's tokens, whether or not they are due or were refused before.

        :raises UnknownUser: No account has this subject.
        :raises DisabledUser: The account is disabled.
        :raises TokensSpent: Hydra refuses the refresh token: the user must log in again.
        :raises PeerError: Hydra is out of reach, or breaks the contract.
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
    point_ids = queries.metering_point_ids_of(session, user_id)
    enqueue_points(session, user_id, "send_key", point_ids)
    return len(point_ids)


def _find(session: Session, subject: str) -> Any:
    found = queries.find_user(session, subject)
    if found is None:
        raise UnknownUser(subject)
    return found


def _find_active(session: Session, subject: str) -> Any:
    user = _find(session, subject)
    if user.disabled_at is not None:
        raise DisabledUser(subject)
    return user
