"""Queries of operations and of their items (contract: v2, Operations).

PostgreSQL makes the JSON, as for listings of GGOs (`origin.ggos.queries.ggos`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.operations.queries.parts import PARTS
from origin.operations.rules import ItemStatus, Kind, Status

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page of operations ends early where the bodies of their requests are longer than this in all."""

STATUS = """CASE
    WHEN accepted_at IS NULL AND ended_at IS NULL THEN 'queued'
    WHEN accepted_at IS NULL AND refusal IS NULL THEN 'cancelled'
    WHEN accepted_at IS NULL THEN 'refused'
    WHEN ended_batches < batches THEN 'pending'
    WHEN declined_batches = 0 THEN 'completed'
    WHEN declined_batches = batches THEN 'declined'
    ELSE 'partially_completed'
END"""
"""An operation's status: this is the one place that has the rule. It needs the operation's columns, and
how many batches it has in all, ended and declined."""

_IS_FINAL = """next_attempt_at IS NULL AND NOT EXISTS (
    SELECT FROM batches WHERE operation_id = operations.id AND batches.ended_at IS NULL
)"""
"""Whether the status is neither `queued` nor `pending`, without counting all batches."""

_BATCHES = """
    SELECT count(*) AS batches, count(ended_at) AS ended_batches,
        count(*) FILTER (WHERE state = 'DECLINED') AS declined_batches,
        max(ended_at) AS last_ended_at, coalesce(sum(moved), 0) AS planned,
        coalesce(sum(moved) FILTER (WHERE ended_at IS NULL), 0) AS pending,
        coalesce(sum(moved) FILTER (WHERE state = 'COMPLETED'), 0) AS completed,
        coalesce(sum(moved) FILTER (WHERE state = 'DECLINED'), 0) AS declined
    FROM batches WHERE operation_id = operations.id
"""

_OBJECT = """
    SELECT page.id, page.kind, page.origin, page.status, page.created_at AS "createdAt",
        page.accepted_at AS "acceptedAt",
        CASE WHEN page.status <> 'pending' THEN coalesce(page.last_ended_at, page.ended_at)
        END AS "completedAt",
        json_build_object('subject', users.subject, 'client', page.client) AS actor,
        page.idempotency_key AS "idempotencyKey", page.request,
        json_build_object(
            'requested', page.requested, 'planned', page.planned, 'pending', page.pending,
            'completed', page.completed, 'declined', page.declined, 'ggos', page.batches
        ) AS totals,
        page.refusal,
        json_build_object(
            'self', '/v2/operations/' || page.id, 'items', '/v2/operations/' || page.id || '/items',
            'statement', NULL
        ) AS links
    FROM users WHERE users.id = page.user_id
"""

_PAGE = f"""
SELECT page.id::text, page.created_at, page.kind, page.status, row_to_json(object)::text, page.found
FROM (
    SELECT *, count(*) OVER () AS found,
        sum(octet_length(request::text)) OVER (
            ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
        ) AS bytes_before
    FROM (
        SELECT operations.*, sums.*, found.status
        FROM operations
        CROSS JOIN LATERAL ({_BATCHES}) AS sums
        CROSS JOIN LATERAL (SELECT {STATUS} AS status) AS found
        WHERE {{conditions}}
        ORDER BY operations.created_at DESC, operations.id DESC LIMIT %(limit)s
    ) AS selected
) AS page
CROSS JOIN LATERAL ({_OBJECT}) AS object
WHERE coalesce(bytes_before, 0) <= {MAX_PAGE_BYTES}
ORDER BY page.created_at DESC, page.id DESC
"""

_NARROWED = {
    frozenset({Status.QUEUED}): "next_attempt_at IS NOT NULL",
    frozenset({Status.QUEUED, Status.REFUSED, Status.CANCELLED}): "accepted_at IS NULL",
    frozenset({Status.PENDING}): (
        "EXISTS (SELECT FROM batches WHERE operation_id = operations.id "
        "AND batches.ended_at IS NULL)"
    ),
    frozenset({Status.DECLINED, Status.PARTIALLY_COMPLETED}): (
        "EXISTS (SELECT FROM batches WHERE operation_id = operations.id AND state = 'DECLINED')"
    ),
}
"""Conditions that follow from a status, and that indexes serve."""

_ITEMS = f"""
SELECT batch.sequence, batch.id, lower(batch.state),
    coalesce(batch.ledger_batch_id, batch.original_batch_id), batch.signed_batch,
    to_json(CASE WHEN NOT batch.never_sent THEN batch.submitted_at END)::text,
    to_json(batch.ended_at)::text, batch.posts, batch.last_error,
    json_build_object('address', source.address, 'amount', source.amount, 'begin', source.begin,
        'end', source."end", 'sector', source.sector)::text,
    (
        SELECT coalesce(json_agg(json_build_object(
            'kind', part.kind, 'amount', amount, 'address', part.address,
            'account', CASE WHEN part.kind = 'transfer' THEN users.subject END,
            'reference', reference, 'gsrn', retire_gsrn, 'measurementAddress', retire_address
        ) ORDER BY split_position), '[]')::text
        FROM (
            SELECT *, CASE
                WHEN retire_address IS NOT NULL THEN 'retire'
                WHEN source.amount > batch.moved AND split_position = max(split_position) FILTER (
                    WHERE retire_address IS NULL AND owner_id = batch.user_id
                ) OVER () THEN 'remainder'
                ELSE 'transfer'
            END AS kind
            FROM ({PARTS}) AS made
        ) AS part JOIN users ON users.id = part.owner_id
    )
FROM batches AS batch JOIN ggos AS source ON source.id = batch.ggo_id
WHERE batch.operation_id = %(operation_id)s AND batch.sequence > %(after)s {{states}}
ORDER BY batch.sequence LIMIT %(limit)s
"""

_FINAL = f"SELECT id::text FROM operations WHERE id = ANY(%(ids)s::text[]::uuid[]) AND {_IS_FINAL}"

_PLANNING = """
SELECT next_attempt_at, attempts, last_error FROM operations
WHERE id = %(id)s AND next_attempt_at IS NOT NULL
"""

_CANCEL = """
UPDATE operations SET ended_at = now(), next_attempt_at = NULL
WHERE id = %(id)s AND user_id = %(user_id)s AND next_attempt_at IS NOT NULL
RETURNING id
"""


@dataclass(frozen=True)
class OperationFilter:
    """Which operations a list has; an empty list of kinds or statuses stands for all.

    :ivar begin: Only operations that were created then or later.
    :ivar end: Only operations that were created before.
    """

    kinds: Collection[str]
    statuses: Collection[str]
    begin: datetime
    end: datetime
    idempotency_key: str | None


@dataclass(frozen=True)
class OperationRow:
    """An operation as it stands.

    :ivar document: The contract's object, in JSON.
    """

    id: UUID
    created_at: datetime
    kind: Kind
    status: Status
    document: str


@dataclass(frozen=True)
class ItemRow:
    """An item of an operation.

    :ivar batch_id: Our id of its batch.
    :ivar signed_batch: The bytes that were, or will be, posted to the ledger; None: not signed here.
    :ivar submitted_at: A time in JSON, as `ended_at` is.
    :ivar last_error: The ledger's last error.
    :ivar source: The GGO that is spent, in JSON.
    :ivar parts: What it becomes, in JSON.
    """

    sequence: int
    batch_id: int
    status: ItemStatus
    ledger_batch_id: str | None
    signed_batch: bytes | None
    submitted_at: str | None
    ended_at: str | None
    posts: int
    last_error: str | None
    source: str
    parts: str


@dataclass(frozen=True)
class Planning:
    """How the planning of a queued operation goes.

    :ivar last_error: Why it was put off last.
    """

    next_attempt_at: datetime
    attempts: int
    last_error: str | None


def page(
    database: Database,
    user_id: int,
    wanted: OperationFilter,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> tuple[list[OperationRow], bool]:
    """Return the account's operations, newest first, and whether there are more than these.

    :param after: Time of creation and id of the operation before the page.
    :param limit: How many at most. There may be fewer although there are more: their requests are long.
    """
    tests = [
        "user_id = %(user_id)s",
        "operations.created_at >= %(begin)s",
        "operations.created_at < %(end)s",
    ]
    values: dict[str, Any] = {
        "user_id": user_id,
        "begin": wanted.begin,
        "end": wanted.end,
        "limit": limit + 1,
    }
    if after is not None:
        tests.append("(operations.created_at, operations.id) < (%(after_at)s, %(after_id)s::uuid)")
        values |= {"after_at": after[0], "after_id": str(after[1])}
    if wanted.kinds:
        tests.append("kind = ANY(%(kinds)s)")
        values["kinds"] = list(wanted.kinds)
    if wanted.idempotency_key is not None:
        tests.append("idempotency_key = %(key)s")
        values["key"] = wanted.idempotency_key
    if wanted.statuses:
        tests.append("found.status = ANY(%(statuses)s)")
        tests += [test for those, test in _NARROWED.items() if those.issuperset(wanted.statuses)]
        values["statuses"] = list(wanted.statuses)
    sql = _PAGE.format(conditions=" AND ".join(tests))
    # Which plan is best depends on the statuses.
    read = database.query if wanted.statuses else database.prepared
    rows = read(sql, values)
    has_more = bool(rows) and (len(rows) > limit or len(rows) < rows[0][-1])
    return [_operation(row) for row in (rows[:-1] if has_more else rows)], has_more


def get(connection: RawConnection, operation_id: UUID, user_id: int | None) -> OperationRow | None:
    """Return an operation; None if there is none with this id.

    :param user_id: The account that it must belong to; None for operators.
    """
    conditions = "operations.id = %(id)s"
    values: dict[str, Any] = {"id": str(operation_id), "limit": 1}
    if user_id is not None:
        conditions += " AND user_id = %(user_id)s"
        values["user_id"] = user_id
    rows = connection.prepared(_PAGE.format(conditions=conditions), values)
    return _operation(rows[0]) if rows else None


def _operation(row: Sequence[Any]) -> OperationRow:
    found_id, created_at, kind, status, document, _ = row
    return OperationRow(UUID(found_id), created_at, Kind(kind), Status(status), document)


def items(
    connection: RawConnection,
    operation_id: UUID,
    statuses: Collection[str],
    after: int,
    limit: int,
) -> list[ItemRow]:
    """Return the items of an operation, by sequence.

    :param statuses: Only these; empty for all.
    :param after: The sequence of the item before the page; -1 for the first.
    """
    values: dict[str, Any] = {"operation_id": str(operation_id), "after": after, "limit": limit}
    states = ""
    if statuses:
        states = "AND batch.state = ANY(%(states)s)"
        values["states"] = [each.upper() for each in statuses]
    rows = connection.prepared(_ITEMS.format(states=states), values)
    return [_item(*row) for row in rows]


def _item(
    sequence: int, batch_id: int, status: str, ledger_id: str | None, signed: Any, *others: Any
) -> ItemRow:
    signed_batch = None if signed is None else bytes(signed)
    return ItemRow(sequence, batch_id, ItemStatus(status), ledger_id, signed_batch, *others)


def planning_of(connection: RawConnection, operation_id: UUID) -> Planning | None:
    """Return how the planning of a queued operation goes; None if it is not queued."""
    rows = connection.prepared(_PLANNING, {"id": str(operation_id)})
    return Planning(*rows[0]) if rows else None


def final_ones(database: Database, ids: Collection[UUID]) -> list[UUID]:
    """Return those of these operations that are final."""
    rows = database.prepared(_FINAL, {"ids": [str(each) for each in ids]})
    return [UUID(row[0]) for row in rows]


def cancel(connection: RawConnection, operation_id: UUID, user_id: int) -> bool:
    """Cancel an operation of this account while it is queued; return whether it was."""
    return bool(connection.prepared(_CANCEL, {"id": str(operation_id), "user_id": user_id}))
