"""What a compose reads and writes: few statements, each prepared, since each is a round trip."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from origin.compose.rules import Part, PartKind, Source, is_whole_retire
from origin.db.raw_connections import RawConnection
from origin.ggos.queries.expiry import not_expired
from origin.webhooks.queries.outbox import tell_settled

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

_LOCK_MEASUREMENT = (
    "SELECT pg_advisory_xact_lock(hashtextextended('measurement:' || %(address)s, 0))"
)

_RETIRED = """
SELECT retire_address, sum(amount) FROM ggos
WHERE retired AND retire_address = ANY(%(addresses)s) GROUP BY retire_address
"""

# Accounts can't be disabled until this ends. By the clock as it is once the source's lock is there:
# it may have been waited for.
_SOURCE = f"""
WITH active AS (
    SELECT id FROM users WHERE id = ANY(%(accounts)s) AND disabled_at IS NULL
    ORDER BY id FOR KEY SHARE
),
source AS (
    UPDATE ggos SET locked = true, {{changes}}
    WHERE id = %(source)s AND owner_id = %(owner)s AND stored AND NOT locked AND NOT key_mismatch
        AND {not_expired("clock_timestamp()")}
        AND (SELECT count(*) FROM active) = cardinality(%(accounts)s::bigint[])
    RETURNING *
),
batch AS (INSERT INTO batches (user_id, ggo_id) SELECT owner_id, id FROM source RETURNING id)
"""

_SPLIT = f"""{_SOURCE.format(changes="stored = false")},
part AS (
    INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
        emissions, issue_time, expire_time, parent_id, split_position, sender_id, reference,
        key_index, stored, retired, locked, retire_gsrn, retire_address)
    SELECT part.owner_id, part.address, part.amount, begin, "end", sector, technology_code,
        fuel_code, emissions, issue_time, expire_time, source.id, place - 1, source.owner_id,
        part.reference, part.key_index, part.retire_address IS NULL,
        part.retire_address IS NOT NULL, true, part.retire_gsrn, part.retire_address
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
RETURNING batch_id
"""

_WHOLE_RETIRE = f"""{
    _SOURCE.format(
        changes="stored = false, retired = true, retire_gsrn = %(gsrn)s, "
        "retire_address = %(retire_address)s"
    )
}
INSERT INTO transactions (batch_id, position, type, ggo_id)
SELECT batch.id, 0, 'retire', source.id FROM batch, source
RETURNING batch_id
"""

# What `origin.batches.queries.outcomes.complete_batches` does, for a batch that is never sent.
_FREE_PARTS = """
UPDATE ggos SET locked = false, never_sent = true
WHERE id = %(source)s OR parent_id = %(source)s
"""
_COMPLETE_UNSENT = """
UPDATE batches SET state = 'COMPLETED', submitted_at = now(), ended_at = now(),
    next_attempt_at = NULL, never_sent = true
WHERE id = %(batch)s
"""

_AT_ONCE = 8
"""Users to whom indexes are handed out in one statement."""


@dataclass(frozen=True)
class Account:
    """An account that takes part in a compose; its master key is sealed."""

    id: int
    subject: str
    disabled: bool
    master_key: str


@dataclass(frozen=True)
class Point:
    """A consumption metering point of the caller's; its key is `m/1/key_index`."""

    id: int
    gsrn: str
    key_index: int


@dataclass(frozen=True)
class Found:
    """What was found of what an order names.

    :ivar source: The caller's GGO at the order's address, if there is one.
    :ivar accounts: The caller's account and those of the recipients that exist, by subject.
    :ivar points: Those of the GSRNs that are the caller's own consumption points.
    """

    source: Source | None
    accounts: Mapping[str, Account]
    points: Mapping[str, Point]


@dataclass(frozen=True)
class Target:
    """A part that becomes a GGO of its own, with its key's index and the address it gives."""

    part: Part
    key_index: int
    address: str


def find(
    link: RawConnection, caller_id: int, address: str, subjects: Iterable[str], gsrns: Iterable[str]
) -> Found:
    """All that a compose must know of the database before it asks DataHub."""
    values = {
        "caller": caller_id,
        "address": address,
        "subjects": list(subjects),
        "gsrns": list(gsrns),
    }
    ((accounts, points, *source),) = link.prepared(_FACTS, values)
    return Found(
        None if source[0] is None else Source(*source),
        {each[1]: Account(*each) for each in accounts or ()},
        {each[1]: Point(*each) for each in points or ()},
    )


def allocate_trade_indexes(link: RawConnection, counts: Mapping[int, int]) -> dict[int, int]:
    """Hand out indexes k of `m/0/k`, never to be handed out again.

    By itself and quick, for few users at a time, so that composes of one sender don't wait for each other's commit. It
    needn't be flushed: the transaction that uses the indexes commits later, and its flush covers
    this one's record in the log, which comes before.

    :param counts: How many, by user id.
    :returns: the first of each user's, by user id.
    """
    ordered = sorted(counts)
    found: dict[int, int] = {}
    for start in range(0, len(ordered), _AT_ONCE):
        ids = ordered[start : start + _AT_ONCE]
        values = {f"id_{place}": user_id for place, user_id in enumerate(ids)}
        values |= {f"count_{place}": counts[user_id] for place, user_id in enumerate(ids)}
        found.update(zip(ids, link.prepared(_allocate(len(ids)), values)[0], strict=True))
    return found


@cache
def _allocate(users: int) -> str:
    """One update after the other, in the order of the ids: two that share users can't wait in a circle.

    Not locks first and one update then: an update begins at the row as it was when the statement
    began, and of two that wait for the same row each may hold what the other needs of it.
    """
    after = [f"FROM update_{place - 1}" if place else "FROM hurry" for place in range(users)]
    updates = [
        f"update_{place} AS (UPDATE users SET next_trade_index = next_trade_index + %(count_{place})s "
        f"{after[place]} WHERE id = %(id_{place})s RETURNING next_trade_index - %(count_{place})s AS first)"
        for place in range(users)
    ]
    return (
        "WITH hurry AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), "
        f"{', '.join(updates)} "
        f"SELECT {', '.join(f'update_{place}.first' for place in range(users))} "
        f"FROM {', '.join(f'update_{place}' for place in range(users))}"
    )


def lock_measurements(link: RawConnection, addresses: Iterable[str]) -> None:
    """Have the measurements at these addresses to oneself until the transaction ends."""
    for address in sorted(addresses):
        link.prepared(_LOCK_MEASUREMENT, {"address": address})


def retired_to(link: RawConnection, addresses: Collection[str]) -> dict[str, int]:
    """The Wh retired to the measurements at these addresses, in flight included."""
    if not addresses:
        return {}
    rows = link.prepared(_RETIRED, {"addresses": list(addresses)})
    return {address: int(amount) for address, amount in rows}


def write(
    link: RawConnection,
    source: Source,
    accounts: Collection[int],
    parts: Sequence[Part],
    targets: Sequence[Target],
) -> int | None:
    """Spend the source, and leave the batch that will tell the ledger; all or nothing.

    :param accounts: The ids of all that take part.
    :param targets: What the parts become, where the source is split.
    :returns: The batch's id; None, and nothing is written, where the source can't be spent any more
        or one of the accounts was disabled.
    """
    values = {"source": source.id, "owner": source.owner_id, "accounts": list(set(accounts))}
    if is_whole_retire(parts):
        [part] = parts
        more = {"gsrn": part.retire_gsrn, "retire_address": part.retire_address}
        rows = link.prepared(_WHOLE_RETIRE, {**values, **more})
    else:
        rows = link.prepared(_SPLIT, {**values, **_columns(targets)})
    return rows[0][0] if rows else None


def complete_unsent(link: RawConnection, source_id: int, batch_id: int) -> bool:
    """Complete a batch that was just written, without the ledger; in the transaction that wrote it.

    The source and the parts are marked as never sent, and the parts' owners are told by webhook.

    :returns: Whether there are webhooks to deliver.
    """
    link.prepared(_FREE_PARTS, {"source": source_id})
    link.prepared(_COMPLETE_UNSENT, {"batch": batch_id})
    return tell_settled(link, batch_id)


def _columns(targets: Sequence[Target]) -> dict[str, list[Any]]:
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
