"""SQL of when a GGO was settled, spent and retired, and of the bucket that it is in.

Each function returns an expression about a row of `ggos`. Rows that versions before migration 0016 wrote
lack their times until workers have filled them in: then the time is that of the batch. PostgreSQL looks a
batch up for those rows alone.
"""

from origin.ggos.queries.expiry import expired


def _of_batch(column: str, source: str, otherwise: str) -> str:
    """Return a time of the batch that spends this GGO, if it has not been declined.

    :param source: SQL of the GGO's id.
    :param otherwise: SQL of the time if there is no such batch: adoption and recovery know of some GGOs
        only what became of them.
    """
    return (
        f"(SELECT CASE WHEN count(*) = 0 THEN {otherwise} ELSE max(batch.{column}) END "
        f"FROM batches AS batch WHERE batch.ggo_id = {source} AND batch.state <> 'DECLINED')"
    )


def settled_at(ggo: str) -> str:
    """Return when the batch that made this part was completed; NULL: not yet, or it was issued."""
    made = _of_batch("ended_at", f"{ggo}.parent_id", f"{ggo}.created_at")
    return f"coalesce({ggo}.settled_at, CASE WHEN {ggo}.parent_id IS NOT NULL THEN {made} END)"


def spent_at(ggo: str) -> str:
    """Return when the order that splits or retires the GGO was accepted; NULL: it isn't spent.

    A part that is made as retired is spent when it is made.
    """
    spends = _of_batch("created_at", f"{ggo}.id", f"{ggo}.created_at")
    return (
        f"CASE WHEN NOT {ggo}.stored AND NOT {ggo}.spent_elsewhere "
        f"THEN coalesce({ggo}.spent_at, {spends}) END"
    )


def retired_at(ggo: str) -> str:
    """Return when the batch that retires the GGO was completed; NULL: not yet, or it isn't retired."""
    made = _of_batch("ended_at", f"{ggo}.parent_id", f"{ggo}.created_at")
    retires = _of_batch("ended_at", f"{ggo}.id", made)
    return f"coalesce({ggo}.retired_at, CASE WHEN {ggo}.retired THEN {retires} END)"


def is_incoming(ggo: str) -> str:
    """Return whether another account sent the GGO to its owner."""
    return f"({ggo}.parent_id IS NOT NULL AND {ggo}.sender_id <> {ggo}.owner_id)"


def began_at(ggo: str) -> str:
    """Return when the GGO became its owner's; NULL: it is on its way."""
    return f"CASE WHEN {is_incoming(ggo)} THEN {settled_at(ggo)} ELSE {ggo}.created_at END"


def is_born_retired(ggo: str) -> str:
    """Return whether the GGO is a part that its split retired."""
    return f"({ggo}.retired AND {ggo}.parent_id IS NOT NULL AND {spent_at(ggo)} = {ggo}.created_at)"


def is_in_flight_at(ggo: str, at: str) -> str:
    """Return whether the GGO is a part of its owner's own split, which was in flight at this time.

    It is one only if it existed then.
    """
    settled = settled_at(ggo)
    return (
        f"({ggo}.parent_id IS NOT NULL AND {ggo}.sender_id = {ggo}.owner_id "
        f"AND coalesce({settled} > {at}, true))"
    )


def came_from_another(ggo: str, at: str) -> str:
    """Return whether another account sent what the GGO is, as known at this time.

    Of a part in flight, its source counts: it comes back if the ledger refuses the order.
    """
    return (
        f"({is_incoming(ggo)} OR ({is_in_flight_at(ggo, at)} AND "
        f"(SELECT {is_incoming('parent')} FROM ggos AS parent WHERE parent.id = {ggo}.parent_id)))"
    )


def is_unknown_to_ledger(ggo: str, *, ledger_enabled: bool) -> str:
    """Return whether the GGO was made by a split that was never sent to the ledger, which is on now.

    `never_sent` of the source says so: that of the part may stem from its own end.
    """
    if not ledger_enabled:
        return "false"
    return (
        f"({ggo}.never_sent AND ({ggo}.stored OR coalesce("
        f"(SELECT parent.never_sent FROM ggos AS parent WHERE parent.id = {ggo}.parent_id), false)))"
    )


def _is_spent_elsewhere_unnoticed(ggo: str) -> str:
    """Return whether the GGO is spent elsewhere, and no rollback tells since when."""
    return (
        f"({ggo}.spent_elsewhere AND NOT EXISTS (SELECT FROM rollbacks AS open "
        f"WHERE open.ggo_id = {ggo}.id AND open.blocked AND open.unblocked_at IS NULL))"
    )


def held_bucket(ggo: str, at: str, *, ledger_enabled: bool) -> str:
    """Return the bucket of a GGO that its owner holds at this time, by the wire's name.

    Blocks that a rollback tells of are left out: they are moves of their own.
    """
    unknown = is_unknown_to_ledger(ggo, ledger_enabled=ledger_enabled)
    return (
        f"CASE WHEN {_is_spent_elsewhere_unnoticed(ggo)} THEN 'blocked' "
        f"WHEN {ggo}.{expired(at)} THEN 'expired' "
        f"WHEN {ggo}.key_mismatch OR {unknown} THEN 'blocked' ELSE 'available' END"
    )


def block_ended_at(rollback: str, source: str) -> str:
    """Return when the block that a rollback began has ended; infinity: it goes on.

    :param source: The rollback's source. A recovery ends a block without a note: then it never was.
    """
    return (
        f"coalesce({rollback}.unblocked_at, "
        f"CASE WHEN {source}.spent_elsewhere THEN timestamptz 'infinity' "
        f"ELSE {rollback}.declined_at END)"
    )


PARTS = """jsonb_to_recordset({rollback}.undone->'parts') AS {part} (
    id bigint, address text, amount bigint, owner_id bigint, sender_id bigint, split_position int,
    reference text, retired boolean
)"""
"""The parts that a rollback deleted, as rows."""

WHOLE_RETIRE = "({rollback}.undone->>'retire_address') IS NOT NULL"
"""Whether the batch of a rollback retired its source whole."""
