"""What opens a history that was adopted or recovered: what the account had when it began."""

from origin.balances.queries.entry_sources import (
    BATCHES,
    GGO_COLUMNS,
    NO_BEGIN,
    OPENED,
    OPENED_PENDING,
    batch_lines,
)
from origin.balances.queries.facts import (
    began_at,
    held_bucket,
    is_in_flight_at,
    is_incoming,
    retired_at,
    settled_at,
    spent_at,
)
from origin.balances.rules.entries import EntryKey


def openings(after: EntryKey | None, *, ledger_enabled: bool) -> list[str]:
    """Return the statements of what the account had when its history began.

    First each GGO as if no order were in flight, then the moves of the orders that are. So the entries
    stay if the ledger refuses such an order.
    """
    ggo = GGO_COLUMNS.format(ggo="ggo")
    spent, held = spent_at("ggo"), held_bucket("ggo", "%(history)s", ledger_enabled=ledger_enabled)
    own = f"""
SELECT %(history)s::timestamptz, {OPENED}, ggo.begin, ggo.id, 0, 'opening', ggo.amount, 'outside',
    CASE
        WHEN {spent} <= %(history)s AND {retired_at("ggo")} <= %(history)s THEN 'retired' ELSE {held}
    END,
    ggo.address, {ggo}, NULL::uuid, CASE WHEN {is_incoming("ggo")} THEN ggo.sender_id END,
    ggo.reference
FROM ggos AS ggo WHERE ggo.owner_id = %(owner)s AND {began_at("ggo")} <= %(history)s
    AND NOT {is_in_flight_at("ggo", "%(history)s")}
    AND ({spent} IS NULL OR {spent} > %(history)s OR ggo.retire_gsrn IS NOT NULL OR EXISTS (
        SELECT FROM ggos AS part WHERE part.parent_id = ggo.id
            AND coalesce({settled_at("part")} > %(history)s, true)
    ))
"""
    in_flight = f"""
SELECT %(history)s::timestamptz, {OPENED_PENDING}, {NO_BEGIN}, batch.id, part.position, 'opening',
    part.amount, {held_bucket("source", "%(history)s", ledger_enabled=ledger_enabled)}, part.target,
    part.address, {GGO_COLUMNS.format(ggo="source")}, NULL::uuid, part.counterpart, part.reference
FROM {BATCHES} CROSS JOIN LATERAL ({batch_lines(ledger_enabled=False)}) AS part
WHERE batch.user_id = %(owner)s AND batch.state <> 'DECLINED' AND batch.created_at <= %(history)s
    AND (batch.ended_at IS NULL OR batch.ended_at > %(history)s)
    AND {spent_at("source")} <= %(history)s
"""
    return [
        f"{own} AND {_opening_beyond(after)} ORDER BY ggo.begin, ggo.id LIMIT %(limit)s",
        f"{in_flight} AND {_pending_beyond(after)} ORDER BY batch.id, part.position LIMIT %(limit)s",
    ]


def _pending_beyond(after: EntryKey | None) -> str:
    """Return the condition that an opening entry of an order in flight comes after the key."""
    if after is None:
        return "true"
    place = "%(after_at)s::timestamptz, %(after_rank)s, %(after_row)s, %(after_position)s"
    return f"(%(history)s, {OPENED_PENDING}, batch.id, part.position) > ({place})"


def _opening_beyond(after: EntryKey | None) -> str:
    """Return the condition that an opening entry of a GGO comes after the key."""
    if after is None:
        return "true"
    place = "%(after_at)s::timestamptz, %(after_rank)s, %(after_begin)s, %(after_row)s"
    return f"(%(history)s, {OPENED}, ggo.begin, ggo.id) > ({place})"
