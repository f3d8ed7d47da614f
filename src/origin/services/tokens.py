"""Users' tokens: used, renewed in time and in turn (contract: peers, Hydra)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.clients.hydra import Tokens
from origin.clock import utcnow
from origin.db.encryption import Sealer, access_token_context, refresh_token_context
from origin.db.locks import lock_name
from origin.db.models import User
from origin.errors import OriginError, PeerUnauthorized, TokensSpent
from origin.runtime import Runtime
from origin.telemetry.metrics import TOKEN_REFRESHES

DUE_BEFORE_EXPIRY = timedelta(hours=24)
LOCK_WAIT_S = 60
"""Longer than a call to Hydra may take: whoever waits finds fresh tokens in the end."""
_CHUNK = 100

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


def with_user_token(runtime: Runtime, user_id: int, call: Callable[[str], T]) -> T:
    """Call a peer with the user's access token; a refused one is renewed once, and tried again.

    Not to be used inside a transaction.

    :raises TokensSpent: only a new login helps.
    :raises PeerError: from the call, or from Hydra.
    """
    with runtime.database.reading() as session:
        token = _stored(session, runtime.sealer, user_id).access_token
    if token is None:
        raise TokensSpent("the user has no tokens")
    try:
        return call(token)
    except PeerUnauthorized:
        return call(_renew(runtime, user_id, lambda stored: stored.access_token == token))


def refresh_now(runtime: Runtime, user_id: int) -> None:
    """Renew the user's tokens, due or not.

    :raises TokensSpent: Hydra refuses, now or before; only a new login helps.
    :raises PeerError: Hydra is out of reach, or answers what it shouldn't.
    """
    _renew(runtime, user_id, lambda _: True)


def refresh_due(runtime: Runtime) -> int:
    """Renew all tokens that expire within 24 hours.

    One user's failure is logged and doesn't stop the others.

    :returns: How many users have fresh tokens.
    """
    deadline = utcnow() + DUE_BEFORE_EXPIRY
    refreshed, last_id = 0, 0
    while due := _due(runtime, deadline, last_id):
        for user_id, expires_at in due:
            refreshed += _try_renew(runtime, user_id, expires_at)
            last_id = user_id
    return refreshed


def _due(runtime: Runtime, deadline: datetime, last_id: int) -> list[tuple[int, datetime | None]]:
    """Users beyond this id whose tokens expire by then, and when they do."""
    with runtime.database.reading() as session:
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


def _try_renew(runtime: Runtime, user_id: int, expires_at: datetime | None) -> bool:
    try:
        _renew(runtime, user_id, lambda stored: stored.expires_at == expires_at)
    except (OriginError, SQLAlchemyError) as error:
        reason = error if isinstance(error, OriginError) else type(error).__name__
        log.warning("Tokens of user %s were not refreshed: %s", user_id, reason)
        return False
    return True


def _renew(runtime: Runtime, user_id: int, still_wanted: Callable[[_Stored], bool]) -> str:
    """Exchange the refresh token, unless someone else has just done so.

    A refresh token may work only once, so only one refresh of a user runs at a time, whatever the
    process: a lock that is held over the call to Hydra. It costs its holder and each who waits a
    database connection for that long, which is why no other peer is called in a transaction.

    :param still_wanted: Given what is stored once the lock is held: whether to go on.
    :returns: The access token that is valid now.
    """
    with runtime.database.transaction() as session:
        session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
        lock_name(session, f"refresh:{user_id}")
        stored = _stored(session, runtime.sealer, user_id)
        if stored.access_token is not None and not still_wanted(stored):
            return stored.access_token
        if stored.refresh_token is None or stored.is_refused:
            raise TokensSpent("the user has no refresh token that Hydra takes")
        fresh = _exchanged(runtime, stored.refresh_token)
        if not _is_stored_still(session, runtime.sealer, user_id, stored.refresh_token):
            # A login has brought other tokens meanwhile, or the account was disabled.
            token = _stored(session, runtime.sealer, user_id).access_token
        else:
            _store(session, runtime.sealer, user_id, stored.subject, fresh)
            token = fresh.access_token if fresh else None
    if token is None:
        # Raised out here: the refusal is remembered.
        raise TokensSpent("Hydra refuses the user's refresh token")
    return token


def _exchanged(runtime: Runtime, refresh_token: str) -> Tokens | None:
    """Fresh tokens; None where Hydra refuses for good."""
    outcome = "failed"
    try:
        fresh = runtime.hydra.refresh(refresh_token)
        outcome = "refreshed"
    except PeerUnauthorized as error:
        log.warning("%s", error)
        outcome = "refused"
        return None
    else:
        return fresh
    finally:
        TOKEN_REFRESHES.labels(outcome).inc()


def _is_stored_still(session: Session, sealer: Sealer, user_id: int, refresh_token: str) -> bool:
    """Tell whether the refresh token that was used is the stored one, and hold the row so."""
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
    return _stored(session, sealer, user_id).refresh_token == refresh_token


def _store(
    session: Session, sealer: Sealer, user_id: int, subject: str, fresh: Tokens | None
) -> None:
    values: dict[str, Any] = (
        {"tokens_refused_at": func.now()}
        if fresh is None
        else sealed_tokens(sealer, subject, fresh)
    )
    session.execute(
        update(User)
        .where(User.id == user_id)
        .values(values)
        .execution_options(synchronize_session=False)
    )


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
