"""Idempotency keys: taken under a lease, answered by their holder."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.compose.rules import IDEMPOTENCY_KEYS_KEPT_FOR
from origin.db.leases import is_free, lease_end
from origin.db.models import IdempotencyKey
from origin.db.raw_connections import RawConnection

_ANSWER = """
UPDATE idempotency_keys SET status = %(status)s, response = %(response)s
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND status IS NULL
RETURNING key
"""


@dataclass(frozen=True)
class Hold:
    """A request's right to work under an idempotency key; `holder` is its random token."""

    user_id: int
    key: str
    holder: str


def is_outdated() -> ColumnElement[bool]:
    """Return the SQL condition that a key's response is no longer repeated."""
    return IdempotencyKey.created_at < func.now() - IDEMPOTENCY_KEYS_KEPT_FOR


def take(session: Session, hold: Hold, request_hash: str, lease_s: float) -> bool:
    """Insert the key, or take over one that is outdated or whose request died.

    :returns: False if another request has the key.
    """
    row = {
        "request_hash": request_hash,
        "holder": hold.holder,
        "lease_until": lease_end(lease_s),
        "status": None,
        "response": None,
        "created_at": func.now(),
    }
    is_abandoned = and_(
        IdempotencyKey.status.is_(None),
        is_free(IdempotencyKey.lease_until),
        IdempotencyKey.request_hash == request_hash,
    )
    taken = session.execute(
        insert(IdempotencyKey)
        .values(user_id=hold.user_id, key=hold.key, **row)
        .on_conflict_do_update(
            index_elements=[IdempotencyKey.user_id, IdempotencyKey.key],
            set_=row,
            where=or_(is_outdated(), is_abandoned),
        )
        .returning(IdempotencyKey.key)
    )
    return taken.one_or_none() is not None


def find(
    session: Session, user_id: int, key: str
) -> Row[str, int | None, dict[str, Any] | None] | None:
    """Return request_hash, status (None while its request runs) and response of a key."""
    return session.execute(
        select(IdempotencyKey.request_hash, IdempotencyKey.status, IdempotencyKey.response).where(
            IdempotencyKey.user_id == user_id, IdempotencyKey.key == key
        )
    ).one_or_none()


def answer(connection: RawConnection, hold: Hold, status: int, body: dict[str, Any]) -> bool:
    """Store the response to the key's request.

    :returns: False if this holder no longer has the key.
    """
    values = {
        "user_id": hold.user_id,
        "key": hold.key,
        "holder": hold.holder,
        "status": status,
        "response": orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS).decode(),
    }
    return bool(connection.prepared(_ANSWER, values))


def remove(session: Session, hold: Hold) -> None:
    """Delete the key if this holder still works under it."""
    session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.user_id == hold.user_id,
            IdempotencyKey.key == hold.key,
            IdempotencyKey.holder == hold.holder,
            IdempotencyKey.status.is_(None),
        )
    )
