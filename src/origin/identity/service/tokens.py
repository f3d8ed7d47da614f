"""Users' tokens: used for calls to peers, and refreshed (contract: peers, Hydra).

**What a refused refresh token leads to.** When Hydra answers a refresh with 400 or 401,
`token_refresh.TokenRefresher` sets `users.tokens_refused_at` and counts the refusal in the metric
`token_refreshes_total`. As long as it is set

- `UserTokens.with_user_token` raises `TokensSpent` once the access token is refused, too: API calls
  that need DataHub are answered with 403 (`origin.web.errors`);
- the user's DataHub jobs wait for a login (`origin.intake.service.job_queue.JobQueue.park`);
- `UserTokens.refresh_due` skips the user, and the gauge `users_to_log_in` counts them.

The user's next login (`origin.accounts.service.login`) stores new tokens, clears the mark and makes
the jobs due. `flask tokens refresh` with a subject or `--refused` asks Hydra again. Operators use it
after Hydra refused this service's own credentials.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from origin.db.engine import Database
from origin.errors import (
    OriginError,
    PeerClientRefused,
    PeerUnauthorized,
    PeerUnavailable,
    TokensSpent,
)
from origin.identity.queries import users_with_expiring_tokens, users_with_refused_tokens
from origin.identity.service.token_refresh import StoredTokens, TokenRefresher
from origin.shared.clock import utcnow

DUE_BEFORE_EXPIRY = timedelta(hours=24)
UNAVAILABLE_FOR_S = 20.0
UNAVAILABLE_TIMES = 20
"""A sweep ends after Hydra has failed for this long, or this often, in a row."""
_PAGE = 100
"""How many users a sweep reads at a time."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UserTokens:
    """Gives access to users' tokens, and refreshes them."""

    database: Database
    refresher: TokenRefresher

    def with_user_token(self, user_id: int, call: Callable[[str], T]) -> T:
        """Call a peer with the user's access token. If the peer refuses it, refresh and call again.

        Don't use this inside a transaction.

        :raises TokensSpent: The user must log in again.
        :raises PeerError: From the call, or from Hydra.
        """
        token = self.refresher.stored(user_id).access_token
        if token is None:
            raise TokensSpent("the user has no tokens")
        try:
            return call(token)
        except PeerUnauthorized:
            return call(
                self.refresher.refresh(user_id, lambda stored: stored.access_token == token)
            )

    def refresh_now(self, user_id: int) -> None:
        """Refresh the user's tokens, whether or not they are due or were refused before.

        If Hydra accepts a refresh token that it has refused before, the user's DataHub jobs become
        due.

        :raises TokensSpent: Hydra refuses the refresh token: the user must log in again.
        :raises PeerError: Hydra is out of reach, or breaks the contract.
        """
        self.refresher.refresh(user_id, lambda _: True, though_refused=True)

    def refresh_due(self) -> int:
        """Refresh all tokens that expire within 24 hours.

        The failure of one user is logged and doesn't stop the others. The sweep ends early if Hydra
        is out of reach, or refuses this service's credentials: it would mark every user as refused.

        :returns: How many users have fresh tokens.
        """
        before = utcnow() + DUE_BEFORE_EXPIRY
        sweep, last_id = _Sweep(), 0
        while not sweep.is_hopeless:
            with self.database.reading() as session:
                due = users_with_expiring_tokens(
                    session, before=before, beyond_id=last_id, limit=_PAGE
                )
            if not due:
                break
            for user_id, expires_at in due:
                last_id = user_id
                is_still_due = partial(_expires_at, expires_at)
                refresh = partial(self.refresher.refresh, user_id, is_still_due)
                if not sweep.go_on(user_id, refresh):
                    break
        return sweep.refreshed

    def refresh_refused(self) -> int:
        """Refresh the tokens of all users whose refresh token Hydra has refused.

        For use after HYDRA_CLIENT_ID or HYDRA_CLIENT_SECRET was wrong. It ends early as
        `refresh_due` does.

        :returns: How many users have fresh tokens.
        """
        with self.database.reading() as session:
            refused = users_with_refused_tokens(session)
        sweep = _Sweep()
        for user_id in refused:
            if not sweep.go_on(user_id, partial(self.refresh_now, user_id)):
                break
        return sweep.refreshed


def _expires_at(expires_at: datetime, stored: StoredTokens) -> bool:
    return stored.expires_at == expires_at


class _Sweep:
    """Refreshes many users' tokens, and notices when there is no point in going on."""

    def __init__(self) -> None:
        self.refreshed = 0
        self._is_client_refused = False
        self._failures = 0
        self._failing_since = 0.0

    @property
    def is_hopeless(self) -> bool:
        """Whether the refresh of the next user would most likely fail, too."""
        return (
            self._is_client_refused
            or self._failures >= UNAVAILABLE_TIMES
            or (self._failures > 0 and time.monotonic() - self._failing_since >= UNAVAILABLE_FOR_S)
        )

    def go_on(self, user_id: int, refresh: Callable[[], object]) -> bool:
        """Refresh one user's tokens; return False if the sweep should end."""
        self._try(user_id, refresh)
        if self.is_hopeless:
            log.error(
                "The sweep ends early; it has refreshed the tokens of %s users", self.refreshed
            )
        return not self.is_hopeless

    def _try(self, user_id: int, refresh: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            refresh()
        except (OriginError, SQLAlchemyError) as error:
            reason = error if isinstance(error, OriginError) else type(error).__name__
            log.warning("Tokens of user %s were not refreshed: %s", user_id, reason)
            self._is_client_refused = isinstance(error.__cause__, PeerClientRefused)
            if isinstance(error, PeerUnavailable):
                self._failing_since = self._failing_since if self._failures else started
                self._failures += 1
                return
        else:
            self.refreshed += 1
        self._failures = 0
