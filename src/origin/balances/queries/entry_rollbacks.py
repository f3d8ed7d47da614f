"""Entries that rollbacks tell of: orders that were declined, done again, or left their source blocked.

An account has few of them, so all are read.
"""

from origin.balances.queries.entry_sources import (
    ACCEPTED,
    BLOCKED,
    EXPIRED,
    GGO_COLUMNS,
    HELD_AT_EXPIRY,
    NO_BEGIN,
    OPENED_PENDING,
    REDONE,
    UNBLOCKED,
    UNDONE,
    before_expiry,
)
from origin.balances.queries.facts import PARTS, WHOLE_RETIRE, block_ended_at, held_bucket
from origin.balances.rules.entries import EntryKey


def rolled_back(
    after: EntryKey | None, *, opens: bool, has_operation: bool, ledger_enabled: bool
) -> str:
    """Return the statement of the entries that rollbacks tell of."""

    def held(at: str) -> str:
        return held_bucket("source", at, ledger_enabled=ledger_enabled)

    tests = [
        f"(%(low)s <= move.at OR move.rank = {OPENED_PENDING})",
        "move.at <= %(high)s",
        "move.kind = ANY(%(kinds)s)",
    ]
    if not opens:
        tests.append(f"move.rank <> {OPENED_PENDING}")
    if has_operation:
        tests.append("move.operation = %(operation)s::uuid")
    if after is not None:
        place = "%(after_at)s, %(after_rank)s, %(after_begin)s, %(after_row)s, %(after_position)s"
        tests.append(f"(move.at, move.rank, {NO_BEGIN}, move.row, move.position) > ({place})")
    opening = (
        f"""
        UNION ALL
        SELECT %(history)s, {OPENED_PENDING}, rollback.batch_id, part.position, 'opening',
            part.amount, {held("%(history)s")}, part.target, part.address, NULL::uuid,
            part.counterpart, part.reference
        FROM part WHERE part.moves AND rollback.accepted_at <= %(history)s
            AND rollback.declined_at > %(history)s
        UNION ALL
        SELECT %(history)s, {OPENED_PENDING}, rollback.batch_id, -1, 'opening', source.amount,
            {held("%(history)s")}, 'blocked', source.address, NULL, NULL, NULL
        WHERE rollback.blocked AND rollback.declined_at <= %(history)s
            AND {block_ended_at("rollback", "source")} > %(history)s
"""
        if opens
        else ""
    )
    return f"""
SELECT move.at, move.rank, {NO_BEGIN}, move.row, move.position, move.kind, move.amount,
    move.source, move.target, move.address, {GGO_COLUMNS.format(ggo="source")}, move.operation,
    move.counterpart, move.reference
FROM rollbacks AS rollback
JOIN ggos AS source ON source.id = rollback.ggo_id
JOIN batches AS batch ON batch.id = rollback.batch_id
CROSS JOIN LATERAL (
    WITH part AS ({_UNDONE_PARTS})
    {
        _ROLLBACK_MOVES.format(
            accepted=held("rollback.accepted_at"),
            declined=held("rollback.declined_at"),
            redone=held("rollback.redone_at"),
            unblocked=held("rollback.unblocked_at"),
            before_expiry=before_expiry("source", ledger_enabled=ledger_enabled),
        )
    }
    {opening}
) AS move (at, rank, row, position, kind, amount, source, target, address, operation, counterpart,
    reference)
WHERE rollback.user_id = %(owner)s AND {" AND ".join(tests)}
ORDER BY move.at, move.rank, move.row, move.position LIMIT %(limit)s
"""


_UNDONE_PARTS = f"""
        SELECT part.id, 2 * part.split_position AS position, part.amount,
            part.retired OR part.owner_id <> part.sender_id AS moves,
            CASE WHEN part.retired THEN 'retire' ELSE 'send' END AS kind,
            CASE WHEN part.retired THEN 'pendingRetired' ELSE 'pendingOut' END AS target,
            CASE WHEN part.owner_id = part.sender_id THEN part.address ELSE source.address END
                AS address,
            CASE WHEN part.owner_id <> part.sender_id THEN part.owner_id END AS counterpart,
            CASE WHEN part.owner_id <> part.sender_id THEN part.reference END AS reference
        FROM {PARTS.format(rollback="rollback", part="part")}
        UNION ALL
        SELECT NULL, 0, source.amount, true, 'retire', 'pendingRetired', source.address, NULL, NULL
        WHERE {WHOLE_RETIRE.format(rollback="rollback")}
"""

# An order is accepted once; each time that it is done again, `redo` tells of it.
_ROLLBACK_MOVES = f"""
        SELECT rollback.accepted_at, {ACCEPTED}, rollback.batch_id, part.position, part.kind,
            part.amount, {{accepted}}, part.target, part.address, batch.operation_id,
            part.counterpart, part.reference
        FROM part WHERE part.moves AND NOT EXISTS (
            SELECT FROM rollbacks AS earlier
            WHERE earlier.batch_id = rollback.batch_id AND earlier.id < rollback.id
        )
        UNION ALL
        SELECT rollback.declined_at, {UNDONE}, rollback.id, part.position, 'undo', part.amount,
            part.target, {{declined}}, part.address, batch.operation_id, part.counterpart,
            part.reference
        FROM part WHERE part.moves
        UNION ALL
        SELECT rollback.redone_at, {REDONE}, rollback.id, part.position, 'redo', part.amount,
            {{redone}}, part.target, part.address, batch.operation_id, part.counterpart,
            part.reference
        FROM part WHERE part.moves AND rollback.redone_at IS NOT NULL
        UNION ALL
        SELECT rollback.declined_at, {BLOCKED}, rollback.id, 0, 'correct', source.amount,
            {{declined}}, 'blocked', source.address, batch.operation_id, NULL, NULL
        WHERE rollback.blocked AND {block_ended_at("rollback", "source")} > rollback.declined_at
        UNION ALL
        SELECT rollback.unblocked_at, {UNBLOCKED}, rollback.id, 0, 'correct', source.amount,
            'blocked', {{unblocked}}, source.address, batch.operation_id, NULL, NULL
        WHERE rollback.blocked AND rollback.unblocked_at IS NOT NULL
        UNION ALL
        SELECT source.expire_time, {EXPIRED}, coalesce(part.id, source.id),
            CASE WHEN part.id IS NULL THEN part.position + 1 ELSE 0 END, 'expire', part.amount,
            {{before_expiry}}, 'expired', part.address, NULL, NULL, NULL
        FROM part WHERE NOT part.moves AND rollback.accepted_at < source.expire_time
            AND source.expire_time <= rollback.declined_at
        UNION ALL
        SELECT source.expire_time, {EXPIRED}, source.id, 0, 'expire', source.amount,
            {{before_expiry}}, 'expired', source.address, NULL, NULL, NULL
        WHERE NOT source.stored AND rollback.declined_at < source.expire_time
            AND source.expire_time <= rollback.redone_at
            AND {HELD_AT_EXPIRY.format(ggo="source")}
            AND NOT EXISTS (
                SELECT FROM rollbacks AS earlier WHERE earlier.ggo_id = source.id
                    AND earlier.id < rollback.id AND earlier.declined_at < source.expire_time
                    AND source.expire_time <= earlier.redone_at
            )
"""
