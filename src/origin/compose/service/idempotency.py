"""Store one response per Idempotency-Key, and repeat it (contract: http-api, compose).

A request takes its key before the work, and stores its response in the work's own transaction. If
the request dies, the next one with the same key takes over when the lease ends.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from origin.compose.queries import idempotency as queries
from origin.compose.queries.idempotency import Hold
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import KeyInUse, KeyReused


@dataclass(frozen=True)
class StoredResponse:
    """A response stored under a key: HTTP status and body."""

    status: int
    body: dict[str, Any]


def take(
    database: Database, user_id: int, key: str, request: bytes, lease_s: float
) -> Hold | StoredResponse:
    """Take a key to work under it, or return the response stored under it.

    :param request: The request's body; a repeat must have the same bytes.
    :raises KeyReused: the key came before with another body.
    :raises KeyInUse: another request works under the key.
    """
    hold = Hold(user_id, key, secrets.token_hex(16))
    request_hash = sha256(request).hexdigest()
    with database.transaction() as session:
        if queries.take(session, hold, request_hash, lease_s):
            return hold
        known = queries.find(session, user_id, key)
    # None: the other request has just given the key back.
    if known is None:
        raise KeyInUse
    if known.request_hash != request_hash:
        raise KeyReused
    if known.status is None or known.response is None:
        raise KeyInUse
    return StoredResponse(known.status, known.response)


def answer(connection: RawConnection, hold: Hold, response: StoredResponse) -> None:
    """Store the response, in the transaction of the work that it reports.

    :raises KeyInUse: another request has taken over; the work must be rolled back.
    """
    if not queries.answer(connection, hold, response.status, response.body):
        raise KeyInUse


def give_back(database: Database, hold: Hold) -> None:
    """Free the key for the next request: this one failed without a final response."""
    with database.transaction() as session:
        queries.remove(session, hold)
