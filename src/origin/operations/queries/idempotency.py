"""Idempotency keys: taken under a lease, answered by their holder."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, func

from origin.db.models import IdempotencyKey
from origin.db.raw_connections import RawConnection
from origin.operations.rules import IDEMPOTENCY_KEYS_KEPT_FOR, Hold, KeyOwner, Kind

_KEPT_FOR = f"interval '{IDEMPOTENCY_KEYS_KEPT_FOR.total_seconds():.0f} s'"

_TAKE = f"""
INSERT INTO idempotency_keys AS known (user_id, key, request_hash, holder, lease_until)
SELECT %(user_id)s::bigint, %(key)s::text, %(request_hash)s, %(holder)s,
    now() + make_interval(secs => %(lease_s)s::float)
WHERE NOT EXISTS (
    SELECT FROM operations
    WHERE user_id = %(user_id)s AND idempotency_key = %(key)s AND {{owns_it}}
)
ON CONFLICT (user_id, key) DO UPDATE SET
    request_hash = excluded.request_hash, holder = excluded.holder,
    lease_until = excluded.lease_until, status = NULL, response = NULL, operation_id = NULL,
    created_at = now()
WHERE (known.created_at < now() - {_KEPT_FOR} AND {{is_free}})
    OR (known.status IS NULL AND known.lease_until < now()
        AND known.request_hash = excluded.request_hash)
RETURNING key
"""
_TAKE_FOR_COMPOSE = _TAKE.format(owns_it="origin = 'api'", is_free="true")
# A version that made no operations may have kept the answer to a compose under the key.
_TAKE_FOR_V2 = _TAKE.format(owns_it="true", is_free="known.status IS DISTINCT FROM 200")

_FIND = """
SELECT known.request_hash, known.status, known.response, known.operation_id::text,
    owner.id::text, owner.kind, owner.request_hash,
    EXISTS (SELECT FROM operations WHERE user_id = %(user_id)s AND idempotency_key = %(key)s)
FROM (SELECT) AS always
LEFT JOIN idempotency_keys AS known ON known.user_id = %(user_id)s AND known.key = %(key)s
LEFT JOIN operations AS owner ON owner.user_id = %(user_id)s AND owner.idempotency_key = %(key)s
    AND owner.origin = 'api'
"""

_ANSWER = """
UPDATE idempotency_keys
SET status = %(status)s, response = %(response)s, operation_id = %(operation_id)s
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND status IS NULL
RETURNING key
"""

_REMOVE = """
DELETE FROM idempotency_keys
WHERE user_id = %(user_id)s AND key = %(key)s AND holder = %(holder)s AND status IS NULL
"""


@dataclass(frozen=True)
class KnownKey:
    """What is known of an Idempotency-Key.

    :ivar request_hash: Of the request that has the key now; None if none has it.
    :ivar status: HTTP status of the kept answer; None while the request runs.
    :ivar operation_id: The operation of the kept answer.
    :ivar owner: The operation of version 2 that has the key for ever.
    :ivar has_operation: Whether any operation bears the key, a compose's too.
    """

    request_hash: str | None
    status: int | None
    response: dict[str, Any] | None
    operation_id: UUID | None
    owner: KeyOwner | None
    has_operation: bool


def is_outdated() -> ColumnElement[bool]:
    """Return the SQL condition that a key's response is no longer repeated."""
    return IdempotencyKey.created_at < func.now() - IDEMPOTENCY_KEYS_KEPT_FOR


def take(connection: RawConnection, hold: Hold, lease_s: float, *, for_compose: bool) -> bool:
    """Insert the key, or take over one that is outdated or whose request died.

    :param for_compose: Whether the request is a compose: it may reuse the key of an earlier compose.
    :returns: False if another request or an operation has the key.
    """
    sql = _TAKE_FOR_COMPOSE if for_compose else _TAKE_FOR_V2
    return bool(connection.prepared(sql, {**vars(hold), "lease_s": lease_s}))


def find(connection: RawConnection, user_id: int, key: str) -> KnownKey:
    """Return what is known of a key."""
    ((request_hash, status, response, operation_id, *owner, has_operation),) = connection.prepared(
        _FIND, {"user_id": user_id, "key": key}
    )
    return KnownKey(
        request_hash,
        status,
        response,
        None if operation_id is None else UUID(operation_id),
        None if owner[0] is None else KeyOwner(UUID(owner[0]), Kind(owner[1]), owner[2]),
        has_operation,
    )


def answer(
    connection: RawConnection,
    hold: Hold,
    status: int,
    body: dict[str, Any] | None,
    operation_id: UUID | None,
) -> bool:
    """Store the response to the key's request.

    :param body: None for an operation of version 2: its answer is the operation as it stands.
    :returns: False if this holder no longer has the key.
    """
    response = None if body is None else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS).decode()
    stored = {
        "status": status,
        "response": response,
        "operation_id": None if operation_id is None else str(operation_id),
    }
    return bool(connection.prepared(_ANSWER, {**vars(hold), **stored}))


def remove(connection: RawConnection, hold: Hold) -> None:
    """Delete the key if this holder still works under it."""
    connection.prepared(_REMOVE, vars(hold))
