"""Users' tokens: used, renewed in time and in turn (contract: peers, Hydra)."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import make_due
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.db.models import User
from origin.errors import (
    OriginError,
    PeerClientRefused,
    PeerUnauthorized,
    PeerUnavailable,
    TokensSpent,
)
from origin.identity.client import HydraClient, Tokens
from origin.keys.sealing import Sealer, access_token_context, refresh_token_context
from origin.shared.clock import utcnow
from origin.telemetry.metrics import TOKEN_REFRESHES

DUE_BEFORE_EXPIRY = timedelta(hours=24)
REFRESH_LEASE_S = 60
"""Longer than a call to Hydra may take; then a dead process's refresh is taken over."""
WAIT_S = 35.0
"""How long to wait for another's refresh of the same user."""
UNAVAILABLE_FOR_S = 20.0
UNAVAILABLE_TIMES = 20
"""Hydra's failures in a row, in seconds or times, after which a sweep leaves the rest to the next."""
_CHUNK = 100
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class _Stored:
    """A user's tokens as stored."""

    subject: str
    access_token: str | None
    refresh_token: str | None
    expires_at: datetime | None
    is_refused: bool


@dataclass(frozen=True, repr=False)
class _Claim:
    """The right to refresh a user's tokens; `lease_until` tells whose it is."""

    stored: _Stored
    refresh_token: str
    lease_until: datetime


def sealed_tokens(sealer: Sealer, subject: str, tokens: Tokens) -> dict[str, Any]:
    """The columns of `users` that hold these tokens.

    Where no refresh token is among them, the stored one is left as it is.
    """
    columns: dict[str, Any] = {
        "access_token": sealer.seal(tokens.access_token, access_token_context(subject)),
        "token_expires_at": tokens.expires_at,
    }
    if tokens.refresh_token is not None:
        columns["refresh_token"] = sealer.seal(tokens.refresh_token, refresh_token_context(subject))
    return columns


@dataclass(frozen=True)
class UserTokens:
    """Users' tokens: used, and refreshed when they expire."""

    database: Database
    sealer: Sealer
    hydra: HydraClient

    def with_user_token(self, user_id: int, call: Callable[[str], T]) -> T:
        """Call a peer with the user's access token; a refused one is renewed once, and tried again.

        Not to be used inside a transaction.

        :raises TokensSpent: only a new login helps.
        :raises PeerError: from the call, or from Hydra.
        """
        with self.database.reading() as session:
            token = _stored(session, self.sealer, user_id).access_token
        if token is None:
            raise TokensSpent("the user has no tokens")
        try:
            return call(token)
        except PeerUnauthorized:
            return call(self._renew(user_id, lambda stored: stored.access_token == token))

    def refresh_now(self, user_id: int) -> None:
        """Renew the user's tokens, due or not, refused before or not.

        What waited for a login goes on where Hydra takes the refresh token after all: it may have been
        our own credentials that it refused.

        :raises TokensSpent: Hydra refuses; only a new login helps.
        :raises PeerError: Hydra is out of reach, or answers what it shouldn't.
        """
        self._renew(user_id, lambda _: True, though_refused=True)

    def refresh_due(self) -> int:
        """Renew all tokens that expire within 24 hours.

        One user's failure is logged and doesn't stop the others. A Hydra that is out of reach does, and
        so does one that refuses this service itself: each user asked for would be marked as refused.

        :returns: How many users have fresh tokens.
        """
        deadline = utcnow() + DUE_BEFORE_EXPIRY
        sweep, last_id = _Sweep(), 0
        while not sweep.is_hopeless and (due := self._due(deadline, last_id)):
            for user_id, expires_at in due:
                last_id = user_id
                still = partial(_expires_at, expires_at)
                if not sweep.go_on(user_id, partial(self._renew, user_id, still)):
                    break
        return sweep.refreshed

    def refresh_refused(self) -> int:
        """Ask again for all users whose tokens Hydra refused, as `refresh_now` and `refresh_due` do.

        For when it was HYDRA_CLIENT_ID or HYDRA_CLIENT_SECRET that was wrong.

        :returns: How many users have fresh tokens.
        """
        with self.database.reading() as session:
            refused = session.scalars(
                select(User.id)
                .where(
                    User.tokens_refused_at.is_not(None),
                    User.refresh_token.is_not(None),
                    User.disabled_at.is_(None),
                )
                .order_by(User.id)
            ).all()
        sweep = _Sweep()
        for user_id in refused:
            if not sweep.go_on(user_id, partial(self.refresh_now, user_id)):
                break
        return sweep.refreshed

    def _due(self, deadline: datetime, last_id: int) -> list[tuple[int, datetime | None]]:
        """Users beyond this id whose tokens expire by then, and when they do."""
        with self.database.reading() as session:
            rows = session.execute(
                select(User.id, User.token_expires_at)
                .where(
                    User.id > last_id,
                    User.token_expires_at < deadline,
                    User.refresh_token.is_not(None),
                    User.tokens_refused_at.is_(None),
                    User.disabled_at.is_(None),
                )
                .order_by(User.id)
                .limit(_CHUNK)
            )
            return [(row.id, row.token_expires_at) for row in rows]

    def _renew(
        self,
        user_id: int,
        still_wanted: Callable[[_Stored], bool],
        *,
        though_refused: bool = False,
    ) -> str:
        """Exchange the refresh token, unless someone else has just done so.

        A refresh token may work only once, so only one refresh of a user runs at a time, whatever the
        process: it has a lease on the row. Nobody holds a database connection while Hydra is asked, nor
        while waiting for another's refresh.

        :param still_wanted: Given what is stored once it is this one's turn: whether to go on.
        :returns: The access token that is valid now.
        """
        claim = self._wait_for_turn(user_id, still_wanted, though_refused=though_refused)
        if isinstance(claim, str):
            return claim
        refusal = fresh = None
        try:
            fresh = self._exchanged(claim.refresh_token)
        except PeerUnauthorized as error:
            refusal = error
            ours = isinstance(error, PeerClientRefused)
            log.log(logging.ERROR if ours else logging.WARNING, "%s", error)
        except BaseException:
            self._let_go(user_id, claim)
            raise
        token = self._settle_surely(user_id, claim, fresh)
        if token is None:
            raise TokensSpent("Hydra refuses the user's refresh token") from refusal
        return token

    def _wait_for_turn(
        self,
        user_id: int,
        still_wanted: Callable[[_Stored], bool],
        *,
        though_refused: bool,
    ) -> _Claim | str:
        """The right to refresh, or the access token that someone else has brought meanwhile."""
        deadline, pause_s = time.monotonic() + WAIT_S, _FIRST_PAUSE_S
        while time.monotonic() < deadline:
            with self.database.transaction() as session:
                lock_user(session, user_id)
                stored = _stored(session, self.sealer, user_id)
                if stored.access_token is not None and not still_wanted(stored):
                    return stored.access_token
                if stored.refresh_token is None or (stored.is_refused and not though_refused):
                    raise TokensSpent("the user has no refresh token that Hydra takes")
                lease_until = _leased(session, user_id)
            if lease_until is not None:
                return _Claim(stored, stored.refresh_token, lease_until)
            # Another process can't be awaited but by asking.
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise PeerUnavailable("Hydra", "another refresh of the user's tokens hasn't ended")

    def _exchanged(self, refresh_token: str) -> Tokens:
        """Fresh tokens; what came of it is counted.

        :raises PeerError: as `HydraClient.refresh`.
        """
        outcome = "failed"
        try:
            fresh = self.hydra.refresh(refresh_token)
            outcome = "refreshed"
        except PeerUnauthorized:
            outcome = "refused"
            raise
        else:
            return fresh
        finally:
            TOKEN_REFRESHES.labels(outcome).inc()

    def _settle_surely(self, user_id: int, claim: _Claim, fresh: Tokens | None) -> str | None:
        """As `_settle`, insisting for as long as the lease may last.

        Hydra takes the old refresh token no more: without the new one the user must log in again.
        """
        deadline, pause_s = time.monotonic() + WAIT_S, _FIRST_PAUSE_S
        while True:
            try:
                return self._settle(user_id, claim, fresh)
            except SQLAlchemyError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("Tokens of user %s not stored yet: %s", user_id, type(error).__name__)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _settle(self, user_id: int, claim: _Claim, fresh: Tokens | None) -> str | None:
        """Store what came of the refresh, None where it was refused; the access token to use now."""
        values: dict[str, Any] = {"tokens_refused_at": func.now()}
        if fresh is not None:
            sealed = sealed_tokens(self.sealer, claim.stored.subject, fresh)
            values = {"tokens_refused_at": None, **sealed}
        with self.database.transaction() as session:
            lock_user(session, user_id)
            _end_lease(session, user_id, claim)
            now = _stored(session, self.sealer, user_id)
            if now.refresh_token != claim.refresh_token:
                # A login has brought other tokens meanwhile, or the account was disabled.
                return now.access_token
            _update(session, user_id, values)
            if fresh is None:
                return None
            if now.is_refused:
                make_due(session, user_id)
            return fresh.access_token

    def _let_go(self, user_id: int, claim: _Claim) -> None:
        """Let others try. A database that is away keeps them waiting until the lease ends."""
        try:
            with self.database.transaction() as session:
                _end_lease(session, user_id, claim)
        except SQLAlchemyError as error:
            log.warning("The lease on user %s was not ended: %s", user_id, type(error).__name__)


def _expires_at(expires_at: datetime | None, stored: _Stored) -> bool:
    return stored.expires_at == expires_at


class _Sweep:
    """How a refresh of many users' tokens goes."""

    def __init__(self) -> None:
        self.refreshed = 0
        self._is_refused = False
        self._failures = 0
        self._failing_since = 0.0

    @property
    def is_hopeless(self) -> bool:
        """Whether the next user's would fail, too."""
        return (
            self._is_refused
            or self._failures >= UNAVAILABLE_TIMES
            or (self._failures > 0 and time.monotonic() - self._failing_since >= UNAVAILABLE_FOR_S)
        )

    def go_on(self, user_id: int, renew: Callable[[], object]) -> bool:
        """Renew one user's tokens; False where it makes no sense to go on to the next."""
        self._try(user_id, renew)
        if self.is_hopeless:
            log.error("No more tokens are refreshed now; %s users' were", self.refreshed)
        return not self.is_hopeless

    def _try(self, user_id: int, renew: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            renew()
        except (OriginError, SQLAlchemyError) as error:
            reason = error if isinstance(error, OriginError) else type(error).__name__
            log.warning("Tokens of user %s were not refreshed: %s", user_id, reason)
            self._is_refused = isinstance(error.__cause__, PeerClientRefused)
            if isinstance(error, PeerUnavailable):
                self._failing_since = self._failing_since if self._failures else started
                self._failures += 1
                return
        else:
            self.refreshed += 1
        self._failures = 0


def _leased(session: Session, user_id: int) -> datetime | None:
    """When the lease ends that is had now; None where another has one."""
    return session.scalars(
        update(User)
        .where(
            User.id == user_id,
            or_(User.refreshing_until.is_(None), User.refreshing_until < func.now()),
        )
        .values(refreshing_until=func.now() + timedelta(seconds=REFRESH_LEASE_S))
        .returning(User.refreshing_until)
    ).one_or_none()


def _end_lease(session: Session, user_id: int, claim: _Claim) -> None:
    session.execute(
        update(User)
        .where(User.id == user_id, User.refreshing_until == claim.lease_until)
        .values(refreshing_until=None)
    )


def _update(session: Session, user_id: int, values: dict[str, Any]) -> None:
    session.execute(update(User).where(User.id == user_id).values(values))


def _stored(session: Session, sealer: Sealer, user_id: int) -> _Stored:
    row = session.execute(
        select(
            User.subject,
            User.access_token,
            User.refresh_token,
            User.token_expires_at,
            User.tokens_refused_at,
        ).where(User.id == user_id)
    ).one()
    return _Stored(
        subject=row.subject,
        access_token=row.access_token
        and sealer.open(row.access_token, access_token_context(row.subject)),
        refresh_token=row.refresh_token
        and sealer.open(row.refresh_token, refresh_token_context(row.subject)),
        expires_at=row.token_expires_at,
        is_refused=row.tokens_refused_at is not None,
    )
