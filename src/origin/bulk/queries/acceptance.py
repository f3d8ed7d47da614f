"""Writes an accepted plan: one transaction, whose locks are taken in the order of composes.

Guards of metering points by id, accounts by id, GGOs by id. A compose takes its points' guards shared,
then its measurements' locks; a bulk takes the guards alone, exclusively: a lock for each measurement
would overflow PostgreSQL's lock table.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from origin.bulk.queries.facts import SPENDABLE
from origin.db.raw_connections import RawConnection
from origin.webhooks.queries.outbox import announce_operation_on

ROWS_AT_ONCE = 2_000
"""About how many parts one statement writes."""

_ACCOUNTS = """
SELECT id FROM users WHERE id = ANY(%(ids)s::bigint[]) AND disabled_at IS NULL
ORDER BY id FOR KEY SHARE
"""

_GGOS = f"""
SELECT id FROM ggos WHERE id = ANY(%(ids)s::bigint[]) AND owner_id = %(owner)s AND {SPENDABLE}
ORDER BY id FOR NO KEY UPDATE
"""

_ANNOUNCE = "SELECT pg_current_xact_id()::text"
_NOW = "SELECT entry_time()"

_WRITE = """
WITH source AS (
    UPDATE ggos SET stored = false, locked = true, spent_at = %(at)s,
        retired = item.retire_address IS NOT NULL, retire_gsrn = item.retire_gsrn,
        retire_address = item.retire_address
    FROM json_to_recordset(%(sources)s::json) AS item (
        ggo_id bigint, sequence integer, moved bigint, retire_gsrn text, retire_address text
    )
    WHERE ggos.id = item.ggo_id
    RETURNING ggos.*, item.sequence, item.moved
),
batch AS (
    INSERT INTO batches (user_id, ggo_id, created_at, moved, operation_id, sequence)
    SELECT owner_id, id, %(at)s, moved, %(operation_id)s, sequence FROM source ORDER BY sequence
    RETURNING id, ggo_id
),
part AS (
    INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
        emissions, issue_time, expire_time, parent_id, split_position, sender_id, reference,
        key_index, stored, retired, locked, retire_gsrn, retire_address, created_at, spent_at)
    SELECT part.owner_id, part.address, part.amount, begin, "end", sector, technology_code,
        fuel_code, emissions, issue_time, expire_time, source.id, part.position, source.owner_id,
        part.reference, part.key_index, part.retire_address IS NULL,
        part.retire_address IS NOT NULL, true, part.retire_gsrn, part.retire_address, %(at)s,
        CASE WHEN part.retire_address IS NOT NULL THEN %(at)s::timestamptz END
    FROM json_to_recordset(%(parts)s::json) AS part (
        parent_id bigint, position integer, owner_id bigint, amount bigint, address text,
        key_index bigint, reference text, retire_gsrn text, retire_address text
    ) JOIN source ON source.id = part.parent_id
    RETURNING id, parent_id, split_position, retired
)
INSERT INTO transactions (batch_id, position, type, ggo_id)
SELECT batch.id, 0, CASE WHEN retired THEN 'retire' ELSE 'split' END, source.id
FROM batch JOIN source ON source.id = batch.ggo_id
UNION ALL
SELECT batch.id, row_number() OVER (PARTITION BY parent_id ORDER BY split_position), 'retire',
    part.id
FROM batch JOIN part ON part.parent_id = batch.ggo_id WHERE retired
"""

# As `origin.batches.queries.outcomes.complete_batches`, for batches that are never sent.
_FREE_PARTS = """
UPDATE ggos SET locked = false, never_sent = true,
    settled_at = CASE WHEN ggos.id = batch.ggo_id THEN ggos.settled_at ELSE batch.created_at END,
    retired_at = CASE WHEN ggos.retired THEN batch.created_at END
FROM batches AS batch
WHERE batch.operation_id = %(operation_id)s AND ggos.{column} = batch.ggo_id
"""
_COMPLETE_UNSENT = """
UPDATE batches SET state = 'COMPLETED', submitted_at = created_at, ended_at = created_at,
    next_attempt_at = NULL, never_sent = true
WHERE operation_id = %(operation_id)s
"""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A GGO that is spent.

    :ivar moved: Wh that are transferred or retired.
    :ivar retire_address: Of the measurement, if the GGO is retired as a whole.
    """

    ggo_id: int
    sequence: int
    moved: int
    retire_gsrn: str | None
    retire_address: str | None


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part that becomes a GGO of its own; `position` is its place among the targets of the split."""

    parent_id: int
    position: int
    owner_id: int
    amount: int
    address: str
    key_index: int
    reference: str | None
    retire_gsrn: str | None
    retire_address: str | None


def announce(connection: RawConnection) -> None:
    """Let others see that this transaction writes. Call it first.

    While it waits for locks, answers about balances then are about the moment before it began. Without
    this they would go back to that moment only once it has its first lock, behind answers given before.
    """
    connection.prepared(_ANNOUNCE, {})


def lock_active_accounts(connection: RawConnection, ids: Collection[int]) -> set[int]:
    """Lock these accounts and return those that are not disabled: they can't be until the end."""
    return {row[0] for row in connection.prepared(_ACCOUNTS, {"ids": sorted(ids)})}


def lock_spendable(
    connection: RawConnection, owner_id: int, ids: Iterable[int], *, ledger_enabled: bool
) -> int:
    """Lock those of these GGOs that the owner can still spend, and return their number.

    Their expiry is to be checked afterwards, at `entry_time`.
    """
    literal = "{" + ",".join(map(str, sorted(ids))) + "}"
    values = {"ids": literal, "owner": owner_id, "ledger_enabled": ledger_enabled}
    return len(connection.prepared(_GGOS, values))


def entry_time(connection: RawConnection) -> datetime:
    """Return the time for all that this transaction writes. Call it under the locks."""
    at: datetime = connection.prepared(_NOW, {})[0][0]
    return at


def write(
    connection: RawConnection,
    operation_id: UUID,
    at: datetime,
    items: Iterable[tuple[SourceRow, Sequence[PartRow]]],
) -> None:
    """Spend the sources, and insert their parts and a batch for each.

    :param at: From `entry_time`.
    :param items: Each source with the parts that it is split into.
    """
    sources: list[SourceRow] = []
    parts: list[PartRow] = []
    for source, its_parts in items:
        sources.append(source)
        parts += its_parts
        if len(sources) + len(parts) >= ROWS_AT_ONCE:
            _write(connection, operation_id, at, sources, parts)
            sources, parts = [], []
    if sources:
        _write(connection, operation_id, at, sources, parts)


def _write(
    connection: RawConnection,
    operation_id: UUID,
    at: datetime,
    sources: Sequence[SourceRow],
    parts: Sequence[PartRow],
) -> None:
    values = {
        "operation_id": str(operation_id),
        "at": at,
        "sources": orjson.dumps(sources).decode(),
        "parts": orjson.dumps(parts).decode(),
    }
    connection.prepared(_WRITE, values)


def complete_unsent(connection: RawConnection, operation_id: UUID) -> bool:
    """Complete the batches of an operation without the ledger, in the transaction that wrote them.

    Marks the sources and their parts as never sent, and announces the parts to their owners.

    :returns: Whether webhook deliveries were written.
    """
    values = {"operation_id": str(operation_id)}
    for column in ("id", "parent_id"):
        connection.prepared(_FREE_PARTS.format(column=column), values)
    connection.prepared(_COMPLETE_UNSENT, values)
    return announce_operation_on(connection, operation_id)
