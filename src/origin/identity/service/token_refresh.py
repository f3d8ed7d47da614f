"""Refresh one user's tokens at Hydra: by one process at a time, and without losing fresh ones.

A refresh token may work only once. So each refresh holds a lease on the user's row. It holds no
database connection while it asks Hydra or waits for another refresh.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import make_due
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.errors import PeerClientRefused, PeerUnauthorized, PeerUnavailable, TokensSpent
from origin.identity.client import HydraClient, Tokens
from origin.identity.queries import (
    end_refresh_lease,
    lease_refresh,
    mark_refused,
    sealed_tokens_of,
    store_tokens,
)
from origin.keys.sealing import Sealer, access_token_context, refresh_token_context
from origin.telemetry.metrics import TOKEN_REFRESHES

REFRESH_LEASE_S = 60
"""Longer than a call to Hydra may take. Then another process takes over from a dead one."""
WAIT_S = 35.0
"""How long to wait for another refresh of the same user, and for the database to store tokens."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class StoredTokens:
    """A user's tokens as stored, opened. `is_refused`: Hydra has refused the refresh token."""

    subject: str
    access_token: str | None
    refresh_token: str | None
    expires_at: datetime | None
    is_refused: bool


@dataclass(frozen=True, repr=False)
class _Claim:
    """The right to refresh a user's tokens. The lease belongs to the claim with this end."""

    subject: str
    refresh_token: str
    lease_until: datetime


def sealed_tokens(sealer: Sealer, subject: str, tokens: Tokens) -> dict[str, Any]:
    """Return the columns of `users` that store these tokens, sealed.

    Without a new refresh token the stored one stays.
    """
    columns: dict[str, Any] = {
        "access_token": sealer.seal(tokens.access_token, access_token_context(subject)),
        "token_expires_at": tokens.expires_at,
    }
    if tokens.refresh_token is not None:
        columns["refresh_token"] = sealer.seal(tokens.refresh_token, refresh_token_context(subject))
    return columns


@dataclass(frozen=True)
class TokenRefresher:
    """Refreshes users' tokens at Hydra."""

    database: Database
    sealer: Sealer
    hydra: HydraClient

    def stored(self, user_id: int) -> StoredTokens:
        """Return the user's stored tokens.

        :raises CannotUnseal: They are sealed with an unknown secret.
        """
        with self.database.reading() as session:
            return self._stored(session, user_id)

    def refresh(
        self,
        user_id: int,
        still_wanted: Callable[[StoredTokens], bool],
        *,
        though_refused: bool = False,
    ) -> str:
        """Exchange the user's refresh token for fresh tokens, unless someone has just done so.

        :param still_wanted: Gets the stored tokens once no other refresh runs; returns whether to go on.
        :param though_refused: Whether to ask Hydra again if it has refused the refresh token before.
        :returns: The access token that is valid now.
        :raises TokensSpent: Hydra refuses the refresh token, or there is none.
        :raises PeerError: Hydra is out of reach, or breaks the contract.
        """
        claim = self._claim(user_id, still_wanted, though_refused=though_refused)
        if isinstance(claim, str):
            return claim
        refusal = fresh = None
        try:
            fresh = self._exchange(claim.refresh_token)
        except PeerUnauthorized as error:
            refusal = error
            is_our_fault = isinstance(error, PeerClientRefused)
            log.log(logging.ERROR if is_our_fault else logging.WARNING, "%s", error)
        except BaseException:
            self._release(user_id, claim)
            raise
        token = self._record_surely(user_id, claim, fresh)
        if token is None:
            raise TokensSpent("Hydra refuses the user's refresh token") from refusal
        return token

    def _claim(
        self,
        user_id: int,
        still_wanted: Callable[[StoredTokens], bool],
        *,
        though_refused: bool,
    ) -> _Claim | str:
        """Wait for the lease; return it, or the access token that another refresh has stored."""
        deadline, pause_s = time.monotonic() + WAIT_S, _FIRST_PAUSE_S
        while time.monotonic() < deadline:
            with self.database.transaction() as session:
                lock_user(session, user_id)
                stored = self._stored(session, user_id)
                if stored.access_token is not None and not still_wanted(stored):
                    return stored.access_token
                if stored.refresh_token is None or (stored.is_refused and not though_refused):
                    raise TokensSpent("the user has no refresh token that Hydra takes")
                lease_until = lease_refresh(session, user_id, REFRESH_LEASE_S)
            if lease_until is not None:
                return _Claim(stored.subject, stored.refresh_token, lease_until)
            # Another process holds the lease: only polling tells when it ends.
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise PeerUnavailable("Hydra", "another refresh of the user's tokens hasn't ended")

    def _exchange(self, refresh_token: str) -> Tokens:
        """Ask Hydra for fresh tokens, and count the outcome.

        :raises PeerError: As `HydraClient.refresh`.
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

    def _record_surely(self, user_id: int, claim: _Claim, fresh: Tokens | None) -> str | None:
        """Do what `_record` does, and repeat it while the database fails, for up to WAIT_S.

        Hydra accepts the old refresh token no more. If the new one were lost, the user would have to
        log in again.
        """
        deadline, pause_s = time.monotonic() + WAIT_S, _FIRST_PAUSE_S
        while True:
            try:
                return self._record(user_id, claim, fresh)
            except SQLAlchemyError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("Tokens of user %s not stored yet: %s", user_id, type(error).__name__)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _record(self, user_id: int, claim: _Claim, fresh: Tokens | None) -> str | None:
        """Store fresh tokens, or the refusal if there are none; end the lease.

        :returns: The access token to use now; None if there is none.
        """
        with self.database.transaction() as session:
            lock_user(session, user_id)
            end_refresh_lease(session, user_id, claim.lease_until)
            now = self._stored(session, user_id)
            if now.refresh_token != claim.refresh_token:
                # Meanwhile a login has stored other tokens, or the account was disabled.
                return now.access_token
            if fresh is None:
                mark_refused(session, user_id)
                return None
            store_tokens(session, user_id, sealed_tokens(self.sealer, claim.subject, fresh))
            if now.is_refused:
                make_due(session, user_id)
            return fresh.access_token

    def _release(self, user_id: int, claim: _Claim) -> None:
        """End the lease, so that others can try. If the database fails, they wait for its end."""
        try:
            with self.database.transaction() as session:
                end_refresh_lease(session, user_id, claim.lease_until)
        except SQLAlchemyError as error:
            log.warning("The lease on user %s was not ended: %s", user_id, type(error).__name__)

    def _stored(self, session: Session, user_id: int) -> StoredTokens:
        sealed = sealed_tokens_of(session, user_id)
        subject = sealed.subject
        return StoredTokens(
            subject=subject,
            access_token=sealed.access_token
            and self.sealer.open(sealed.access_token, access_token_context(subject)),
            refresh_token=sealed.refresh_token
            and self.sealer.open(sealed.refresh_token, refresh_token_context(subject)),
            expires_at=sealed.expires_at,
            is_refused=sealed.is_refused,
        )
