"""Write operations of version 2, in the transactions that accept, refuse or plan them.

A compose inserts its operation in its own statement (`origin.compose.queries.compose`).
"""

from datetime import datetime
from uuid import UUID

import orjson

from origin.db.ids import uuid7_of
from origin.db.raw_connections import RawConnection
from origin.operations.rules import Hold, NewOperation

_INSERT = f"""
WITH moment AS MATERIALIZED (SELECT coalesce(%(accepted_at)s::timestamptz, clock_timestamp()) AS at)
INSERT INTO operations (id, user_id, kind, origin, created_at, accepted_at, client, idempotency_key,
    request, request_hash, requested, next_attempt_at)
SELECT {uuid7_of("at")}, %(user_id)s, %(kind)s, 'api', at, %(accepted_at)s::timestamptz, %(client)s,
    %(key)s, %(body)s::json, %(request_hash)s, %(requested)s::bigint,
    CASE WHEN %(accepted_at)s::timestamptz IS NULL THEN at END
FROM moment
RETURNING id::text
"""

_ACCEPT = """
UPDATE operations SET accepted_at = %(at)s, requested = %(requested)s, next_attempt_at = NULL
WHERE id = %(id)s AND next_attempt_at IS NOT NULL
RETURNING id
"""

_REFUSE = """
UPDATE operations SET ended_at = now(), refusal = %(refusal)s::jsonb, next_attempt_at = NULL
WHERE id = %(id)s AND next_attempt_at IS NOT NULL
RETURNING id
"""


def insert(
    connection: RawConnection,
    new: NewOperation,
    hold: Hold,
    *,
    accepted_at: datetime | None = None,
    requested: int | None = None,
) -> UUID:
    """Insert an operation: an accepted one, whose batches follow in this transaction, or a queued one.

    Then give it its key (`idempotency.answer_with`), in the same transaction.

    :param accepted_at: From `entry_time()`: the batches' `created_at` as well. None: queued.
    :param requested: Wh; None if it isn't known yet.
    """
    values = {
        "user_id": new.user_id,
        "kind": new.kind.value,
        "client": new.client,
        "body": new.body,
        "key": hold.key,
        "request_hash": hold.request_hash,
        "accepted_at": accepted_at,
        "requested": requested,
    }
    ((operation_id,),) = connection.prepared(_INSERT, values)
    return UUID(operation_id)


def accept(connection: RawConnection, operation_id: UUID, at: datetime, requested: int) -> bool:
    """Accept a queued operation, in the transaction that writes its batches.

    :param at: From `entry_time()`: the batches' `created_at` as well.
    :param requested: Wh.
    :returns: False if it is not queued any more. Then roll the transaction back.
    """
    values = {"id": str(operation_id), "at": at, "requested": requested}
    return bool(connection.prepared(_ACCEPT, values))


def refuse(connection: RawConnection, operation_id: UUID, code: str, detail: str) -> bool:
    """Refuse a queued operation, which planning has found impossible.

    :returns: False if it is not queued any more.
    """
    refusal = orjson.dumps({"code": code, "detail": detail}).decode()
    return bool(connection.prepared(_REFUSE, {"id": str(operation_id), "refusal": refusal}))
