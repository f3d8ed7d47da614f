"""Answers that are given once per Idempotency-Key (contract: http-api, compose).

The key's row is taken before the work and gets its answer in the work's own transaction. A
request that dies leaves the row to be taken over when its lease ends.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import IdempotencyKey
from origin.db.raw_connections import RawConnection
from origin.errors import KeyInUse, KeyReused

KEPT_FOR = timedelta(hours=24)

_ANSWER = """
UPDATE idempotency_keys SET status = %(status)s, response = %(response)s
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND status IS NULL
RETURNING key
"""


@dataclass(frozen=True)
class Answer:
    """A kept answer: HTTP status and body."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Hold:
    """This request's right to work under a key."""

    user_id: int
    key: str
    holder: str


def take(
    database: Database, user_id: int, key: str, request: bytes, lease_s: float
) -> Hold | Answer:
    """Begin to work under a key, or get the answer that it led to.

    :param request: The body as it came; the same key goes with the same bytes only.
    :raises KeyReused: it came with other bytes.
    :raises KeyInUse: another request works under it.
    """
    hold = Hold(user_id, key, secrets.token_hex(16))
    request_hash = sha256(request).hexdigest()
    with database.transaction() as session:
        if _insert(session, hold, request_hash, lease_s):
            return hold
        known = session.execute(
            select(
                IdempotencyKey.request_hash, IdempotencyKey.status, IdempotencyKey.response
            ).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
        ).one_or_none()
    # Gone again: the other request has just given it back.
    if known is None:
        raise KeyInUse
    if known.request_hash != request_hash:
        raise KeyReused
    if known.status is None:
        raise KeyInUse
    return Answer(known.status, known.response)


def _insert(session: Session, hold: Hold, request_hash: str, lease_s: float) -> bool:
    """Insert the key, or take over one that is too old or whose request died."""
    row = {
        "request_hash": request_hash,
        "holder": hold.holder,
        "lease_until": func.now() + timedelta(seconds=lease_s),
        "status": None,
        "response": None,
        "created_at": func.now(),
    }
    expired = IdempotencyKey.created_at < func.now() - KEPT_FOR
    abandoned = and_(
        IdempotencyKey.status.is_(None),
        IdempotencyKey.lease_until < func.now(),
        IdempotencyKey.request_hash == request_hash,
    )
    taken = session.execute(
        insert(IdempotencyKey)
        .values(user_id=hold.user_id, key=hold.key, **row)
        .on_conflict_do_update(
            index_elements=[IdempotencyKey.user_id, IdempotencyKey.key],
            set_=row,
            where=or_(expired, abandoned),
        )
        .returning(IdempotencyKey.key)
    )
    return taken.one_or_none() is not None


def answer(link: RawConnection, hold: Hold, kept: Answer) -> None:
    """Keep the answer, in the transaction of the work that it tells of.

    :raises KeyInUse: another request has taken over meanwhile; roll the work back.
    """
    values = {
        "user_id": hold.user_id,
        "key": hold.key,
        "holder": hold.holder,
        "status": kept.status,
        "response": orjson.dumps(kept.body, option=orjson.OPT_NON_STR_KEYS).decode(),
    }
    if not link.prepared(_ANSWER, values):
        raise KeyInUse


def give_back(database: Database, hold: Hold) -> None:
    """Let the next request with this key try: this one failed without an answer worth keeping."""
    with database.transaction() as session:
        session.execute(delete(IdempotencyKey).where(*_held(hold)))


def _held(hold: Hold) -> tuple[Any, ...]:
    return (
        IdempotencyKey.user_id == hold.user_id,
        IdempotencyKey.key == hold.key,
        IdempotencyKey.holder == hold.holder,
        IdempotencyKey.status.is_(None),
    )
