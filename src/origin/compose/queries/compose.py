"""What a compose reads and writes, in few prepared statements: each costs a round trip."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from origin.compose.rules import Part, PartKind, Source, is_whole_retire
from origin.db.ids import uuid7_of
from origin.db.raw_connections import RawConnection
from origin.ggos.queries.expiry import not_expired
from origin.webhooks.queries.outbox import announce_settled_on

_FACTS = """
SELECT
    (SELECT json_agg(json_build_array(id, subject, disabled_at IS NOT NULL, master_key))
     FROM users WHERE id = %(caller)s OR subject = ANY(%(subjects)s)),
    (SELECT json_agg(json_build_array(id, gsrn, key_index))
     FROM metering_points
     WHERE user_id = %(caller)s AND type = 'consumption' AND gsrn = ANY(%(gsrns)s)),
    ggos.id, owner_id, address, amount, begin, "end", sector, expire_time, stored, retired, locked,
    key_mismatch, never_sent
FROM (SELECT) AS always
LEFT JOIN ggos ON address = %(address)s AND owner_id = %(caller)s
"""

_LOCK_POINTS = """
SELECT pg_advisory_xact_lock{shared}(hashtextextended('metering point:' || point, 0))
FROM unnest(%(points)s::bigint[]) AS point
"""
# One after the other: the guards of points come first.
_LOCK_MEASUREMENTS = f"""
{_LOCK_POINTS.format(shared="_shared")} UNION ALL
SELECT pg_advisory_xact_lock(hashtextextended('measurement:' || address, 0))
FROM unnest(%(addresses)s::text[]) AS address
"""
_GUARD_POINTS = _LOCK_POINTS.format(shared="")

_RETIRED = """
SELECT retire_address, sum(amount) FROM ggos
WHERE retired AND retire_address = ANY(%(addresses)s) GROUP BY retire_address
"""

# The accounts cannot be disabled before this transaction ends. `entry_time()`, not `now()`: the
# statement may have waited for the source's lock. A GGO that is not expired at the check is spent
# before it expires, whenever the statement goes on.
_SOURCE = f"""
WITH active AS (
    SELECT id FROM users WHERE id = ANY(%(accounts)s) AND disabled_at IS NULL
    ORDER BY id FOR KEY SHARE
),
source AS (
    UPDATE ggos SET locked = true, {{changes}},
        spent_at = least(entry_time(), expire_time - interval '1 microsecond')
    WHERE id = %(source)s AND owner_id = %(owner)s AND stored AND NOT locked AND NOT key_mismatch
        AND {not_expired("entry_time()")}
        AND (SELECT count(*) FROM active) = cardinality(%(accounts)s::bigint[])
    RETURNING *
),
operation AS (
    INSERT INTO operations (id, user_id, kind, origin, created_at, accepted_at, client,
        idempotency_key, request, request_hash, requested)
    SELECT {uuid7_of("spent_at")}, owner_id, 'compose', 'legacy', spent_at, spent_at, %(client)s,
        %(key)s, %(body)s, %(request_hash)s, %(moved)s::bigint
    FROM source RETURNING id
),
batch AS (
    INSERT INTO batches (user_id, ggo_id, created_at, moved, operation_id, sequence)
    SELECT owner_id, source.id, spent_at, %(moved)s::bigint, operation.id, 0 FROM source, operation
    RETURNING id, operation_id
)
"""

_SPLIT = f"""{_SOURCE.format(changes="stored = false")},
part AS (
    INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
        emissions, issue_time, expire_time, parent_id, split_position, sender_id, reference,
        key_index, stored, retired, locked, retire_gsrn, retire_address, created_at, spent_at)
    SELECT part.owner_id, part.address, part.amount, begin, "end", sector, technology_code,
        fuel_code, emissions, issue_time, expire_time, source.id, place - 1, source.owner_id,
        part.reference, part.key_index, part.retire_address IS NULL,
        part.retire_address IS NOT NULL, true, part.retire_gsrn, part.retire_address,
        source.spent_at, CASE WHEN part.retire_address IS NOT NULL THEN source.spent_at END
    FROM source, unnest(
        %(owners)s::bigint[], %(addresses)s::text[], %(amounts)s::bigint[],
        %(references)s::text[], %(key_indexes)s::bigint[], %(gsrns)s::text[],
        %(retire_addresses)s::text[]
    ) WITH ORDINALITY AS part (
        owner_id, address, amount, reference, key_index, retire_gsrn, retire_address, place
    )
    RETURNING id, split_position, retired
)
INSERT INTO transactions (batch_id, position, type, ggo_id)
SELECT batch.id, 0, 'split', source.id FROM batch, source
UNION ALL
SELECT batch.id, row_number() OVER (ORDER BY split_position), 'retire', part.id
FROM batch, part WHERE retired
RETURNING batch_id, (SELECT operation_id::text FROM batch)
"""

_WHOLE_RETIRE = f"""{
    _SOURCE.format(
        changes="stored = false, retired = true, retire_gsrn = %(gsrn)s, "
        "retire_address = %(retire_address)s"
    )
}
INSERT INTO transactions (batch_id, position, type, ggo_id)
SELECT batch.id, 0, 'retire', source.id FROM batch, source
RETURNING batch_id, (SELECT operation_id::text FROM batch)
"""

# As `origin.batches.queries.outcomes.complete_batches`, for a batch that is never sent.
_FREE_PARTS = """
UPDATE ggos SET locked = false, never_sent = true,
    settled_at = CASE WHEN ggos.parent_id = source.id THEN source.spent_at ELSE ggos.settled_at END,
    retired_at = CASE WHEN ggos.retired THEN source.spent_at END
FROM ggos AS source
WHERE source.id = %(source)s AND (ggos.id = source.id OR ggos.parent_id = source.id)
"""
_COMPLETE_UNSENT = """
UPDATE batches SET state = 'COMPLETED', submitted_at = created_at, ended_at = created_at,
    next_attempt_at = NULL, never_sent = true
WHERE id = %(batch)s
"""

_USERS_PER_STATEMENT = 8
"""Users that get key indexes in one statement."""


@dataclass(frozen=True)
class ComposingAccount:
    """The sender or a recipient of a compose; `master_key` is sealed."""

    id: int
    subject: str
    disabled: bool
    master_key: str


@dataclass(frozen=True)
class ConsumptionPointRow:
    """A consumption metering point of the caller's; its key is `m/1/key_index`."""

    id: int
    gsrn: str
    key_index: int


@dataclass(frozen=True)
class OrderFacts:
    """What the database has of the things that an order names.

    :ivar source: The caller's GGO at the order's address, if there is one.
    :ivar accounts: The caller's account and those of existing recipients, by subject.
    :ivar points: The caller's consumption points among the GSRNs, by GSRN.
    """

    source: Source | None
    accounts: Mapping[str, ComposingAccount]
    points: Mapping[str, ConsumptionPointRow]


@dataclass(frozen=True)
class PartTarget:
    """A part that becomes a GGO of its own, with its key index and the address derived from it."""

    part: Part
    key_index: int
    address: str


@dataclass(frozen=True)
class SentCompose:
    """A compose's request, as its operation tells of it.

    :ivar body: Its JSON, as it was sent.
    :ivar client: The client id of the token; None: unknown.
    :ivar key: Its Idempotency-Key, if it has one; then `request_hash` is the body's SHA-256, in hex.
    """

    body: str
    client: str | None = None
    key: str | None = None
    request_hash: str | None = None


@dataclass(frozen=True)
class WrittenCompose:
    """The batch and the operation of a compose, by their ids."""

    batch_id: int
    operation_id: UUID


def find_facts(
    connection: RawConnection,
    caller_id: int,
    address: str,
    subjects: Iterable[str],
    gsrns: Iterable[str],
) -> OrderFacts:
    """Read all that a compose needs from the database before it asks DataHub."""
    values = {
        "caller": caller_id,
        "address": address,
        "subjects": list(subjects),
        "gsrns": list(gsrns),
    }
    ((accounts, points, *source),) = connection.prepared(_FACTS, values)
    return OrderFacts(
        None if source[0] is None else Source(*source),
        {each[1]: ComposingAccount(*each) for each in accounts or ()},
        {each[1]: ConsumptionPointRow(*each) for each in points or ()},
    )


def allocate_trade_indexes(connection: RawConnection, counts: Mapping[int, int]) -> dict[int, int]:
    """Allocate key indexes k of `m/0/k`; none is ever allocated again.

    Each statement is a transaction of its own and short, so that composes of one sender do not wait
    for each other's commit. It commits without a flush (`synchronous_commit = off`): the transaction
    that uses the indexes commits later, and its flush covers this one's earlier log record.

    :param counts: How many indexes, by user id.
    :returns: The first index of each user, by user id.
    """
    ordered = sorted(counts)
    found: dict[int, int] = {}
    for start in range(0, len(ordered), _USERS_PER_STATEMENT):
        ids = ordered[start : start + _USERS_PER_STATEMENT]
        values = {f"id_{place}": user_id for place, user_id in enumerate(ids)}
        values |= {f"count_{place}": counts[user_id] for place, user_id in enumerate(ids)}
        found.update(zip(ids, connection.prepared(_allocate(len(ids)), values)[0], strict=True))
    return found


@cache
def _allocate(users: int) -> str:
    """Return the statement for this number of users: one update after the other, in the order of ids.

    So two statements that share users cannot deadlock. Locking all rows first and updating them in
    one statement could: an update starts from the row version of the statement's start, and two
    statements that wait for the same row may each hold what the other needs of it.
    """
    after = [f"FROM update_{place - 1}" if place else "FROM unflushed" for place in range(users)]
    updates = [
        f"update_{place} AS (UPDATE users SET next_trade_index = next_trade_index + %(count_{place})s "
        f"{after[place]} WHERE id = %(id_{place})s RETURNING next_trade_index - %(count_{place})s AS first)"
        for place in range(users)
    ]
    return (
        "WITH unflushed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), "
        f"{', '.join(updates)} "
        f"SELECT {', '.join(f'update_{place}.first' for place in range(users))} "
        f"FROM {', '.join(f'update_{place}' for place in range(users))}"
    )


def lock_measurements(
    connection: RawConnection, point_ids: Iterable[int], addresses: Iterable[str]
) -> None:
    """Lock the measurements at these addresses until the transaction ends.

    Composes that retire to the same measurement sum up what is retired one after the other. So do
    composes and bulks: a compose takes the guards of its points shared, a bulk takes them alone.

    :param point_ids: The metering points of the measurements.
    """
    values = {"points": sorted(point_ids), "addresses": sorted(addresses)}
    connection.prepared(_LOCK_MEASUREMENTS, values)


def guard_points(connection: RawConnection, point_ids: Iterable[int]) -> None:
    """Lock all measurements of these metering points until the transaction ends.

    Call it before any other lock is taken.
    """
    connection.prepared(_GUARD_POINTS, {"points": sorted(point_ids)})


def retired_to(connection: RawConnection, addresses: Collection[str]) -> dict[str, int]:
    """Return the Wh retired to the measurements at these addresses, in flight included."""
    if not addresses:
        return {}
    rows = connection.prepared(_RETIRED, {"addresses": list(addresses)})
    return {address: int(amount) for address, amount in rows}


def write(
    connection: RawConnection,
    source: Source,
    accounts: Collection[int],
    parts: Sequence[Part],
    targets: Sequence[PartTarget],
    request: SentCompose,
) -> WrittenCompose | None:
    """Spend the source, and insert the operation, the parts and the batch; all or nothing.

    :param accounts: The ids of sender and recipients.
    :param targets: The GGOs that the parts become, if the source is split.
    :returns: None if nothing is written, because the source cannot be spent any more or an account was
        disabled.
    """
    values = {
        "source": source.id,
        "owner": source.owner_id,
        "accounts": list(set(accounts)),
        "moved": sum(part.amount for part in parts if part.kind is not PartKind.REMAINDER),
        **vars(request),
    }
    if is_whole_retire(parts):
        [part] = parts
        retire = {"gsrn": part.retire_gsrn, "retire_address": part.retire_address}
        rows = connection.prepared(_WHOLE_RETIRE, {**values, **retire})
    else:
        rows = connection.prepared(_SPLIT, {**values, **_columns(targets)})
    return WrittenCompose(rows[0][0], UUID(rows[0][1])) if rows else None


def complete_unsent(connection: RawConnection, source_id: int, batch_id: int) -> bool:
    """Complete a new batch without the ledger, in the transaction that wrote it.

    Marks the source and the parts as never sent, and announces the parts to their owners.

    :returns: Whether webhook deliveries were written.
    """
    connection.prepared(_FREE_PARTS, {"source": source_id})
    connection.prepared(_COMPLETE_UNSENT, {"batch": batch_id})
    return announce_settled_on(connection, batch_id)


def _columns(targets: Sequence[PartTarget]) -> dict[str, list[Any]]:
    parts = [target.part for target in targets]
    assert all(
        (part.kind is PartKind.RETIRE) == (part.retire_address is not None) for part in parts
    )
    return {
        "owners": [part.owner_id for part in parts],
        "addresses": [target.address for target in targets],
        "amounts": [part.amount for part in parts],
        "references": [part.reference for part in parts],
        "key_indexes": [target.key_index for target in targets],
        "gsrns": [part.retire_gsrn for part in parts],
        "retire_addresses": [part.retire_address for part in parts],
    }
