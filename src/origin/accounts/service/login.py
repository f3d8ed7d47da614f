"""Logins by OpenID Connect's code flow (contract: http-api, Accounts and login; peers, Hydra)."""

import logging
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from origin.accounts.rules import LoginStateUnknown, ReturnUrlNotAllowed, is_allowed
from origin.db.datahub_jobs import NEW_USER_JOBS, enqueue, make_due
from origin.db.engine import Database
from origin.db.locks import lock_subject
from origin.db.models import LoginState, User
from origin.errors import OriginError, PeerError, PeerUnauthorized
from origin.identity.client import HydraClient, Tokens, error_code
from origin.identity.service.tokens import sealed_tokens
from origin.intake.service import early_events, metering_points
from origin.intake.service.issued_ggos import Owner
from origin.keys.derivation import new_master_key
from origin.keys.sealing import CannotUnseal, Sealer, master_key_context
from origin.settings import Settings
from origin.shared.wakeups import Wakeups
from origin.webhooks.service import early_subscriptions
from origin.webhooks.service.outbox import Outbox

CALLBACK_PATH = "/auth/login/callback"
STATE_LIVES = timedelta(hours=1)
MAX_STATES = 20_000
"""Logins under way, of all browsers together; beyond that the oldest give way."""
_DROPPED_AT_ONCE = 1000
_SECRET_BYTES = 32
_BROWSER_ID = re.compile("[A-Za-z0-9_-]{43}", re.ASCII)
"""What so many random bytes look like in `token_urlsafe`."""

log = logging.getLogger(__name__)


class LoginFailed(OriginError):
    """The login ends without success; the text is for the user, and where it leads says where."""

    def __init__(self, message: str, return_url: str) -> None:
        super().__init__(message)
        self.message = message
        self.return_url = return_url


@dataclass(frozen=True, repr=False)
class _State:
    """What was remembered of a login under way."""

    return_url: str
    nonce: str
    code_verifier: str


def new_browser_id() -> str:
    """An unguessable value for the cookie that ties logins to a browser."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def is_browser_id(text: str) -> bool:
    """Tell whether the text can be of `new_browser_id`'s making."""
    return _BROWSER_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Logins:
    """Logins by OpenID Connect's code flow."""

    settings: Settings
    database: Database
    sealer: Sealer
    hydra: HydraClient
    outbox: Outbox
    wakeups: Wakeups

    def begin(self, return_url: str, browser_id: str) -> str:
        """Start a login.

        :returns: Where to send the browser.
        :raises ReturnUrlNotAllowed: The URL leads to an origin that is not allowed.
        """
        settings = self.settings
        if not is_allowed(return_url, settings.login_return_origins):
            raise ReturnUrlNotAllowed
        state, nonce, code_verifier = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(3))
        state_hash = _hash(state)
        with self.database.transaction() as session:
            _make_room(session)
            session.add(
                LoginState(
                    state_hash=state_hash,
                    browser_hash=_hash(browser_id),
                    return_url=return_url,
                    nonce=nonce,
                    code_verifier=self.sealer.seal(code_verifier, _verifier_context(state_hash)),
                    expires_at=func.now() + STATE_LIVES,
                )
            )
        return self.hydra.authorization_url(
            redirect_uri=settings.project_url + CALLBACK_PATH,
            state=state,
            nonce=nonce,
            code_verifier=code_verifier,
        )

    def complete(self, *, state: str, browser_id: str, code: str | None, error: str | None) -> str:
        """Finish a login: tokens, and a user with all that a new one gets.

        :param code: Hydra's authorization code, where the user consented.
        :param error: Hydra's error code, where not.
        :returns: The return URL that `begin` was given.
        :raises LoginStateUnknown: The state is unknown, used or expired, or another browser's.
        :raises LoginFailed: anything else; no user was made or changed.
        """
        remembered = self._take_state(state, browser_id)
        if code is None or error is not None:
            log.info("A login was declined: %s", error_code(error) if error else "no code came")
            raise LoginFailed("The login was declined", remembered.return_url)
        try:
            tokens = self.hydra.exchange_code(
                code,
                redirect_uri=self.settings.project_url + CALLBACK_PATH,
                code_verifier=remembered.code_verifier,
            )
            if tokens.id_token is None:
                log.info("A login was declined: no ID token came")
                raise LoginFailed("The login was declined", remembered.return_url)
            subject = self.hydra.subject_of(tokens.id_token, nonce=remembered.nonce)
        except PeerUnauthorized as failure:
            log.warning("%s", failure)
            raise LoginFailed("The login was refused", remembered.return_url) from failure
        except PeerError as failure:
            log.warning("%s", failure)
            raise LoginFailed(
                "The login could not be completed", remembered.return_url
            ) from failure
        # A first login may tell of GGOs that came before it.
        with self.outbox.transaction() as session:
            is_active = _store_user(session, self.sealer, subject, tokens)
        if not is_active:
            raise LoginFailed("The account is disabled", remembered.return_url)
        self.wakeups.datahub_jobs_due()
        return remembered.return_url

    def _take_state(self, state: str, browser_id: str) -> _State:
        state_hash = _hash(state)
        with self.database.transaction() as session:
            row = session.execute(
                delete(LoginState)
                .where(
                    LoginState.state_hash == state_hash,
                    LoginState.browser_hash == _hash(browser_id),
                    LoginState.expires_at > func.now(),
                )
                .returning(LoginState.return_url, LoginState.nonce, LoginState.code_verifier)
            ).one_or_none()
        if row is None:
            raise LoginStateUnknown
        try:
            verifier = self.sealer.open(row.code_verifier, _verifier_context(state_hash))
        except CannotUnseal as error:
            # A secret that was taken away while the login was under way.
            log.warning("A login under way was dropped: %s", error)
            raise LoginStateUnknown from error
        return _State(row.return_url, row.nonce, verifier)


def _make_room(session: Session) -> None:
    """Drop logins that have expired, and the oldest where there would be more than MAX_STATES.

    Anybody may begin logins, as many as they like: each drops more than the one that it adds.
    """
    newest_first = select(LoginState.state_hash).order_by(LoginState.expires_at.desc())
    too_many = newest_first.offset(MAX_STATES - 1)
    expired = select(LoginState.state_hash).where(LoginState.expires_at < func.now())
    for gone in (expired, too_many):
        # Each part is carried out once, whatever plan PostgreSQL chooses without statistics. Locks are
        # taken by a part of its own: rows that an offset passes over would be locked, too.
        found = gone.limit(_DROPPED_AT_ONCE).cte("found").prefix_with("MATERIALIZED")
        locked = (
            select(LoginState.state_hash)
            .where(LoginState.state_hash.in_(select(found.c.state_hash)))
            # Another login may drop a row at this moment: this one doesn't wait for it.
            .with_for_update(skip_locked=True)
            .cte("locked")
        )
        session.execute(
            delete(LoginState).where(LoginState.state_hash.in_(select(locked.c.state_hash)))
        )


def _store_user(session: Session, sealer: Sealer, subject: str, tokens: Tokens) -> bool:
    """Create or update the user with its tokens; False, and nothing changed, where disabled."""
    lock_subject(session, subject)
    user = session.execute(
        select(User.id, User.disabled_at)
        .where(User.subject == subject)
        .with_for_update(key_share=True)
    ).one_or_none()
    if user is None:
        _create(session, sealer, subject, tokens)
        return True
    if user.disabled_at is not None:
        return False
    session.execute(
        update(User)
        .where(User.id == user.id)
        .values(
            last_login_at=func.now(),
            tokens_refused_at=None,
            **sealed_tokens(sealer, subject, tokens),
        )
    )
    # A web of the version before this one may have made the account, and left them.
    early_subscriptions.make_live(session, sealer, user.id, subject)
    make_due(session, user.id)
    return True


def _create(session: Session, sealer: Sealer, subject: str, tokens: Tokens) -> None:
    """A new user, its subscriptions, what it needs of DataHub, and what DataHub told of it before."""
    user = User(
        subject=subject,
        master_key=sealer.seal(new_master_key().base58(), master_key_context(subject)),
        last_login_at=func.now(),
        **sealed_tokens(sealer, subject, tokens),
    )
    session.add(user)
    session.flush()
    early_subscriptions.make_live(session, sealer, user.id, subject)
    enqueue(session, user.id, NEW_USER_JOBS)
    owner = Owner(user.id, subject, user.master_key, is_active=True)
    metering_points.store(
        session, sealer, owner, early_events.take_metering_points(session, subject)
    )
    # Nor do GGOs wait for a metering point that another user has: those are dropped now.
    early_events.apply_ggos(session, sealer, owner)
    log.info("User %s has logged in for the first time", user.id)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _verifier_context(state_hash: str) -> str:
    return f"login_states.code_verifier:{state_hash}"
