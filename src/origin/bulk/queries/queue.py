"""The queue of orders that workers plan: rows of `operations`, claimed in turns and held by leases.

An order is due when its `next_attempt_at` has passed. A claim moves that time to the end of a lease,
which is also the holder's token. PostgreSQL's clock decides.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from origin.db.raw_connections import RawConnection
from origin.operations.rules import Kind

# The accounts take turns: first the order of each that has waited longest. Orders that are claimed, or
# put off, have had their turns.
_CLAIM = """
WITH ranked AS (
    SELECT id, next_attempt_at, row_number() OVER (
        PARTITION BY user_id ORDER BY next_attempt_at <= now(), attempts, created_at, id
    ) AS turn
    FROM operations WHERE next_attempt_at IS NOT NULL
), due AS (
    SELECT operations.id FROM ranked JOIN operations ON operations.id = ranked.id
    WHERE operations.next_attempt_at <= now()
    ORDER BY turn, ranked.next_attempt_at, operations.id LIMIT 1
    FOR UPDATE OF operations SKIP LOCKED
)
UPDATE operations
SET next_attempt_at = now() + make_interval(secs => %(lease_s)s::float), attempts = attempts + 1
FROM due WHERE operations.id = due.id
RETURNING operations.id::text, user_id, kind,
    (SELECT subject FROM users WHERE users.id = operations.user_id), request::text, attempts,
    next_attempt_at, created_at < now() - make_interval(secs => %(given_up_after_s)s::float)
"""

_RENEW = """
UPDATE operations SET next_attempt_at = now() + make_interval(secs => %(lease_s)s::float)
WHERE id = %(id)s AND next_attempt_at = %(lease_until)s
RETURNING next_attempt_at
"""

_PUT_OFF = """
UPDATE operations SET next_attempt_at = now() + make_interval(secs => %(delay_s)s::float),
    last_error = %(reason)s
WHERE id = %(id)s AND next_attempt_at = %(lease_until)s
"""


@dataclass
class ClaimedOrder:
    """An order that this process plans.

    :ivar subject: Of the account.
    :ivar body: The request's JSON, as it was sent.
    :ivar attempts: Including this one.
    :ivar lease_until: The end of the lease.
    :ivar is_overdue: Whether it is given up if DataHub can't be reached this time.
    """

    id: UUID
    user_id: int
    kind: Kind
    subject: str
    body: str
    attempts: int
    lease_until: datetime
    is_overdue: bool
    held_since: float = field(default_factory=time.monotonic)


def claim(
    connection: RawConnection, *, lease_s: float, given_up_after_s: float
) -> ClaimedOrder | None:
    """Claim the due order whose turn it is; None: nothing is due.

    :param given_up_after_s: Orders that are older are overdue.
    """
    values = {"lease_s": lease_s, "given_up_after_s": given_up_after_s}
    for found_id, user_id, kind, *others in connection.prepared(_CLAIM, values):
        return ClaimedOrder(UUID(found_id), user_id, Kind(kind), *others)
    return None


def renew(connection: RawConnection, order: ClaimedOrder, lease_s: float) -> datetime | None:
    """Extend the lease; return its new end, or None if the order is not the holder's any more."""
    values = {"id": str(order.id), "lease_until": order.lease_until, "lease_s": lease_s}
    rows = connection.prepared(_RENEW, values)
    return rows[0][0] if rows else None


def put_off(connection: RawConnection, order: ClaimedOrder, delay_s: float, reason: str) -> None:
    """Make the order due in so many seconds, if it is still the holder's."""
    values = {"id": str(order.id), "lease_until": order.lease_until}
    connection.prepared(_PUT_OFF, {**values, "delay_s": delay_s, "reason": reason})
