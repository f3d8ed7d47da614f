"""Moving all that is sealed to the first of KEY_ENCRYPTION_SECRETS, while the service runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, not_, or_, select
from sqlalchemy.orm import Session

from origin.db.encryption import (
    CannotUnseal,
    Sealer,
    access_token_context,
    master_key_context,
    refresh_token_context,
)
from origin.db.models import User
from origin.runtime import Runtime

CHUNK = 200

_SEALED = (
    (User.master_key, master_key_context),
    (User.access_token, access_token_context),
    (User.refresh_token, refresh_token_context),
)


@dataclass(frozen=True)
class Progress:
    """How far a rotation is: users."""

    done: int
    failed: int
    total: int


def outdated(runtime: Runtime) -> int:
    """How many users have something that isn't sealed with the first secret."""
    with runtime.database.reading() as session:
        query = select(func.count()).select_from(User).where(_is_outdated(runtime.sealer))
        return session.scalar(query) or 0


def rotate(runtime: Runtime) -> Iterator[Progress]:
    """Reseal everything with the first secret, some users in each transaction.

    It can be stopped at any moment and begun again: what is done stays done. Users whose texts
    open with none of the secrets are left as they are, and counted as failed.
    """
    total = outdated(runtime)
    done = failed = last_id = 0
    yield Progress(done, failed, total)
    while True:
        with runtime.database.transaction() as session:
            users = _next(session, runtime.sealer, last_id)
            for user in users:
                resealed = _reseal(runtime.sealer, user)
                done += resealed
                failed += not resealed
        if not users:
            return
        last_id = users[-1].id
        yield Progress(done, failed, total)


def _next(session: Session, sealer: Sealer, last_id: int) -> list[User]:
    """The next outdated users, locked: a refresh of tokens meanwhile waits."""
    query = (
        select(User)
        .where(User.id > last_id, _is_outdated(sealer))
        .order_by(User.id)
        .limit(CHUNK)
        .with_for_update(key_share=True)
    )
    return list(session.scalars(query))


def _is_outdated(sealer: Sealer) -> ColumnElement[bool]:
    # NULL is neither outdated nor up to date, as it should be.
    prefix = sealer.current_prefix
    return or_(*(not_(column.startswith(prefix, autoescape=True)) for column, _ in _SEALED))


def _reseal(sealer: Sealer, user: User) -> bool:
    try:
        fresh = {
            column.key: sealer.reseal(sealed, context(user.subject))
            for column, context in _SEALED
            if (sealed := getattr(user, column.key)) is not None
        }
    except CannotUnseal:
        return False
    for name, sealed in fresh.items():
        setattr(user, name, sealed)
    return True
