"""Idempotency keys of composes and of version 2 (contract: http-api, compose; v2, Conventions).

A request takes its key before the work, and stores its answer in the work's own transaction. If the
request dies, the next one with the same key takes over when the lease ends. Both APIs share the keys
of an account. An operation of version 2 has its key for ever; a compose keeps its answer for a day.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import KeyInUse, KeyReused
from origin.operations.queries import idempotency as queries
from origin.operations.queries.idempotency import KnownKey
from origin.operations.rules import Hold, Kind

_ACCEPTED = 202


@dataclass(frozen=True)
class StoredResponse:
    """A compose's response stored under a key: HTTP status and body, and the operation that it made."""

    status: int
    body: dict[str, Any]
    operation_id: UUID | None = None


def take(
    database: Database, user_id: int, key: str, request: bytes, lease_s: float
) -> Hold | StoredResponse:
    """Take a key for a compose, or return the response stored under it.

    :param request: The request's body; a repeat must have the same bytes.
    :raises KeyReused: The key came before with another body, or an operation of version 2 has it.
    :raises KeyInUse: Another request works under the key.
    """
    hold = _new_hold(user_id, key, request)
    known = _take(database, hold, lease_s, for_compose=True)
    if known is None:
        return hold
    if known.owner is not None:
        raise KeyReused
    _check_in_use(known, hold)
    if known.status is None or known.response is None:
        raise KeyInUse
    return StoredResponse(known.status, known.response, known.operation_id)


def take_for(
    database: Database, user_id: int, key: str, request: bytes, kind: Kind, lease_s: float
) -> Hold | UUID:
    """Take a key for a POST of version 2, or return the operation that an earlier one made.

    Answer with the operation as it stands now, and with `Idempotency-Replayed`.

    :param request: The request's body; a repeat must have the same bytes.
    :raises KeyReused: The key came before with another body, made an operation of a compose, or holds a
        rejection of one.
    :raises KeyInUse: Another request works under the key.
    """
    hold = _new_hold(user_id, key, request)
    known = _take(database, hold, lease_s, for_compose=False)
    if known is None:
        return hold
    if known.owner is not None:
        if (known.owner.request_hash, known.owner.kind) != (hold.request_hash, kind):
            raise KeyReused
        return known.owner.id
    if known.has_operation:
        raise KeyReused
    _check_in_use(known, hold)
    raise KeyInUse if known.status is None else KeyReused


def _new_hold(user_id: int, key: str, request: bytes) -> Hold:
    return Hold(user_id, key, sha256(request).hexdigest(), secrets.token_hex(16))


def _take(database: Database, hold: Hold, lease_s: float, *, for_compose: bool) -> KnownKey | None:
    """Take the key, or return what is known of it."""
    with database.raw_connection() as connection:
        if queries.take(connection, hold, lease_s, for_compose=for_compose):
            return None
        return queries.find(connection, hold.user_id, hold.key)


def _check_in_use(known: KnownKey, hold: Hold) -> None:
    """Check that the request that has the key has the same body.

    :raises KeyInUse: That request has just given the key back: try again.
    :raises KeyReused: It has another body.
    """
    if known.request_hash is None:
        raise KeyInUse
    if known.request_hash != hold.request_hash:
        raise KeyReused


def answer(connection: RawConnection, hold: Hold, response: StoredResponse) -> None:
    """Store a compose's response, in the transaction of the work that it reports.

    :raises KeyInUse: Another request has taken over; the work must be rolled back.
    """
    if not queries.answer(connection, hold, response.status, response.body, response.operation_id):
        raise KeyInUse


def answer_with(connection: RawConnection, hold: Hold, operation_id: UUID) -> None:
    """Give the key to an operation of version 2, in the transaction that inserts the operation.

    :raises KeyInUse: Another request has taken over; the work must be rolled back.
    """
    if not queries.answer(connection, hold, _ACCEPTED, None, operation_id):
        raise KeyInUse


def give_back(database: Database, hold: Hold) -> None:
    """Free the key for the next request: this one failed without a final response."""
    with database.raw_connection() as connection:
        queries.remove(connection, hold)
