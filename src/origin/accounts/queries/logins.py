"""Logins under way, from their begin to the callback."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from origin.db.models import LoginState

DROPPED_AT_ONCE = 1000


@dataclass(frozen=True, repr=False)
class StoredLogin:
    """A login under way. Hashes are SHA-256 in hex; the PKCE code verifier is sealed."""

    state_hash: str
    browser_hash: str
    return_url: str
    nonce: str
    sealed_code_verifier: str


def add_login(session: Session, login: StoredLogin, lifetime: timedelta) -> None:
    """Insert a login under way."""
    session.execute(
        insert(LoginState).values(
            state_hash=login.state_hash,
            browser_hash=login.browser_hash,
            return_url=login.return_url,
            nonce=login.nonce,
            code_verifier=login.sealed_code_verifier,
            expires_at=func.now() + lifetime,
        )
    )


def take_login(session: Session, *, state_hash: str, browser_hash: str) -> StoredLogin | None:
    """Delete a login and return it; None if it is unknown, expired or another browser's."""
    row = session.execute(
        delete(LoginState)
        .where(
            LoginState.state_hash == state_hash,
            LoginState.browser_hash == browser_hash,
            LoginState.expires_at > func.now(),
        )
        .returning(LoginState.return_url, LoginState.nonce, LoginState.code_verifier)
    ).one_or_none()
    if row is None:
        return None
    return StoredLogin(state_hash, browser_hash, row.return_url, row.nonce, row.code_verifier)


def make_room(session: Session, max_logins: int) -> None:
    """Delete expired logins, and the oldest ones if another would exceed `max_logins`.

    Anyone may begin any number of logins. Each call deletes up to DROPPED_AT_ONCE of either kind,
    which is more than the one login that follows.
    """
    newest_first = select(LoginState.state_hash).order_by(LoginState.expires_at.desc())
    too_many = newest_first.offset(max_logins - 1)
    expired = select(LoginState.state_hash).where(LoginState.expires_at < func.now())
    for superfluous in (expired, too_many):
        # MATERIALIZED: PostgreSQL runs each part once, whatever plan it chooses without statistics.
        # The locks need a part of their own: an offset would lock the rows it skips, too.
        found = superfluous.limit(DROPPED_AT_ONCE).cte("found").prefix_with("MATERIALIZED")
        locked = (
            select(LoginState.state_hash)
            .where(LoginState.state_hash.in_(select(found.c.state_hash)))
            # Don't wait for another login that is deleting a row.
            .with_for_update(skip_locked=True)
            .cte("locked")
        )
        session.execute(
            delete(LoginState).where(LoginState.state_hash.in_(select(locked.c.state_hash)))
        )
