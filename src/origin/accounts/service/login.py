"""Log users in by OpenID Connect's code flow (contract: http-api, Accounts and login; peers, Hydra)."""

import logging
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from sqlalchemy.orm import Session

from origin.accounts.queries.logins import StoredLogin, add_login, make_room, take_login
from origin.accounts.queries.users import create_user, lock_user_for_login, record_login
from origin.accounts.rules import LoginStateUnknown, ReturnUrlNotAllowed, is_allowed
from origin.db.datahub_jobs import NEW_USER_JOBS, enqueue, make_due
from origin.db.engine import Database
from origin.db.locks import lock_subject
from origin.errors import OriginError, PeerError, PeerUnauthorized
from origin.identity.client import HydraClient, Tokens, error_code
from origin.identity.service.token_refresh import sealed_tokens
from origin.intake.queries.owners import Owner
from origin.intake.service import early_events, metering_points
from origin.intake.service.issued_ggos import IssuedGgos
from origin.keys.derivation import new_master_key
from origin.keys.sealing import CannotUnseal, Sealer, master_key_context
from origin.settings import Settings
from origin.shared.wakeups import Wakeups
from origin.webhooks.service import early_subscriptions
from origin.webhooks.service.outbox import Outbox

CALLBACK_PATH = "/auth/login/callback"
STATE_LIVES = timedelta(hours=1)
MAX_STATES = 20_000
"""Logins under way, of all browsers together. Beyond that the oldest are dropped."""
_SECRET_BYTES = 32
_BROWSER_ID = re.compile("[A-Za-z0-9_-]{43}", re.ASCII)
"""The form of `new_browser_id`: `token_urlsafe` of _SECRET_BYTES."""

log = logging.getLogger(__name__)


class LoginFailed(OriginError):
    """The login failed. The user is sent to `return_url`, with `message` as the reason."""

    def __init__(self, message: str, return_url: str) -> None:
        super().__init__(message)
        self.message = message
        self.return_url = return_url


@dataclass(frozen=True, repr=False)
class _LoginUnderWay:
    return_url: str
    nonce: str
    code_verifier: str


def new_browser_id() -> str:
    """Return an unguessable value for the cookie that ties logins to a browser."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def is_browser_id(text: str) -> bool:
    """Tell whether a text has the form of `new_browser_id`."""
    return _BROWSER_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Logins:
    """Begins and completes logins."""

    settings: Settings
    database: Database
    sealer: Sealer
    hydra: HydraClient
    outbox: Outbox
    wakeups: Wakeups
    issued_ggos: IssuedGgos

    def begin(self, return_url: str, browser_id: str) -> str:
        """Begin a login.

        :returns: The URL at Hydra to which the browser is sent.
        :raises ReturnUrlNotAllowed: The return URL is not of an allowed origin.
        """
        settings = self.settings
        if not is_allowed(return_url, settings.login_return_origins):
            raise ReturnUrlNotAllowed
        state, nonce, code_verifier = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(3))
        state_hash = _hash(state)
        login = StoredLogin(
            state_hash=state_hash,
            browser_hash=_hash(browser_id),
            return_url=return_url,
            nonce=nonce,
            sealed_code_verifier=self.sealer.seal(code_verifier, _verifier_context(state_hash)),
        )
        with self.database.transaction() as session:
            make_room(session, MAX_STATES)
            add_login(session, login, STATE_LIVES)
        return self.hydra.authorization_url(
            redirect_uri=settings.project_url + CALLBACK_PATH,
            state=state,
            nonce=nonce,
            code_verifier=code_verifier,
        )

    def complete(self, *, state: str, browser_id: str, code: str | None, error: str | None) -> str:
        """Complete a login: store the user's tokens, and create the user at the first login.

        :param code: Hydra's authorization code, if the user consented.
        :param error: Hydra's error code, if not.
        :returns: The return URL that `begin` was given.
        :raises LoginStateUnknown: The state is unknown, used, expired or another browser's.
        :raises LoginFailed: The login failed otherwise. No user was created or changed.
        """
        login = self._take_login(state, browser_id)
        if code is None or error is not None:
            log.info("A login was declined: %s", error_code(error) if error else "no code came")
            raise LoginFailed("The login was declined", login.return_url)
        subject, tokens = self._exchange_code(code, login)
        # A first login may issue GGOs that DataHub reported before it.
        with self.outbox.transaction() as session:
            is_active = self._store_user(session, subject, tokens)
        if not is_active:
            raise LoginFailed("The account is disabled", login.return_url)
        self.wakeups.datahub_jobs_due()
        return login.return_url

    def _take_login(self, state: str, browser_id: str) -> _LoginUnderWay:
        """Return the login of this state, and delete it: a state works once.

        :raises LoginStateUnknown: The state is unknown, used, expired or another browser's.
        """
        state_hash = _hash(state)
        with self.database.transaction() as session:
            login = take_login(session, state_hash=state_hash, browser_hash=_hash(browser_id))
        if login is None:
            raise LoginStateUnknown
        try:
            verifier = self.sealer.open(login.sealed_code_verifier, _verifier_context(state_hash))
        except CannotUnseal as error:
            # Its secret was removed from KEY_ENCRYPTION_SECRETS while the login was under way.
            log.warning("A login under way was dropped: %s", error)
            raise LoginStateUnknown from error
        return _LoginUnderWay(login.return_url, login.nonce, verifier)

    def _exchange_code(self, code: str, login: _LoginUnderWay) -> tuple[str, Tokens]:
        """Return the subject of Hydra's ID token, and the tokens.

        :raises LoginFailed: Hydra refuses the code, is out of reach, or sends no valid ID token.
        """
        try:
            tokens = self.hydra.exchange_code(
                code,
                redirect_uri=self.settings.project_url + CALLBACK_PATH,
                code_verifier=login.code_verifier,
            )
            if tokens.id_token is None:
                log.info("A login was declined: no ID token came")
                raise LoginFailed("The login was declined", login.return_url)
            return self.hydra.subject_of(tokens.id_token, nonce=login.nonce), tokens
        except PeerUnauthorized as failure:
            log.warning("%s", failure)
            raise LoginFailed("The login was refused", login.return_url) from failure
        except PeerError as failure:
            log.warning("%s", failure)
            raise LoginFailed("The login could not be completed", login.return_url) from failure

    def _store_user(self, session: Session, subject: str, tokens: Tokens) -> bool:
        """Create or update the user; return False, and change nothing, if it is disabled."""
        lock_subject(session, subject)
        user = lock_user_for_login(session, subject)
        if user is None:
            self._create_user(session, subject, tokens)
            return True
        if user.disabled_at is not None:
            return False
        record_login(session, user.id, sealed_tokens(self.sealer, subject, tokens))
        # A web process of an earlier version may have created the account without making them live.
        early_subscriptions.make_live(session, self.sealer, user.id, subject)
        make_due(session, user.id)
        return True

    def _create_user(self, session: Session, subject: str, tokens: Tokens) -> None:
        """Create the user with their early subscriptions, first DataHub jobs and early events."""
        sealed = self.sealer.seal(new_master_key().base58(), master_key_context(subject))
        user_id = create_user(
            session,
            subject=subject,
            sealed_master_key=sealed,
            token_columns=sealed_tokens(self.sealer, subject, tokens),
        )
        early_subscriptions.make_live(session, self.sealer, user_id, subject)
        enqueue(session, user_id, NEW_USER_JOBS)
        owner = Owner(user_id, subject, sealed, is_active=True)
        points = early_events.take_metering_points(session, subject)
        metering_points.store(session, self.issued_ggos, owner, points)
        # `store` does this only if it adds points. Kept GGOs of other users' points must be dropped, too.
        early_events.apply_ggos(session, self.issued_ggos, owner)
        log.info("User %s has logged in for the first time", user_id)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _verifier_context(state_hash: str) -> str:
    return f"login_states.code_verifier:{state_hash}"
