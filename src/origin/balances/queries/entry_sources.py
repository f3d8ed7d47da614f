"""The sources of entries: each reads one index of GGOs or batches in the order of times.

What was issued, received and expired is told by rows of `ggos`; what orders move, by `batches` and the
parts that they make. What rollbacks tell, and what opens a history, has files of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass

from origin.balances.queries.back_fill import WITHOUT_TIMES
from origin.balances.queries.facts import (
    began_at,
    held_bucket,
    is_born_retired,
    is_unknown_to_ledger,
    settled_at,
)

OPENED, OPENED_PENDING = 0, 2
ISSUED, RECEIVED = 3, 4
UNBLOCKED, REDONE, ACCEPTED, COMPLETED = 5, 6, 7, 8
EXPIRED, UNDONE, BLOCKED = 9, 10, 11
"""The ranks of the sources: entries of one time are sorted by them."""

GGO_COLUMNS = '{ggo}.begin, {ggo}."end", {ggo}.sector, {ggo}.technology_code, {ggo}.fuel_code'
NO_BEGIN = "timestamptz 'epoch'"


@dataclass(frozen=True)
class Source:
    """A source of entries.

    :ivar rank: Of its entries.
    :ivar kinds: What they may be.
    :ivar time: SQL of their time; `row`: of the row's id. An index has both, in this order.
    :ivar position: SQL of the position among the row's entries.
    :ivar columns: SQL of the other columns of `_COLUMNS`, from `kind` on.
    :ivar rows: SQL of what follows FROM, with the condition of the account.
    :ivar operation: SQL of the operation's id, if the entries have one.
    """

    rank: int
    kinds: frozenset[str]
    time: str
    row: str
    position: str
    columns: str
    rows: str
    operation: str | None = None


def sources(kinds: Collection[str], *, ledger_enabled: bool) -> list[Source]:
    """Return the sources of entries.

    :param kinds: Which entries are wanted.
    """
    return [
        *_ggo_sources(ledger_enabled=ledger_enabled),
        *_batch_sources(kinds, ledger_enabled=ledger_enabled),
    ]


def _ggo_sources(*, ledger_enabled: bool) -> list[Source]:
    """Return the sources of what is issued, received and expired."""
    unknown_before = before_expiry("ggo", ledger_enabled=ledger_enabled)
    nothing = "NULL::uuid, NULL::bigint, NULL"

    def of_ggos(rank: int, kind: str, time: str, columns: str, others: str, rows: str) -> Source:
        moved = f"'{kind}', ggo.amount, {columns}, ggo.address, {GGO_COLUMNS.format(ggo='ggo')}, {others}"
        owned = f"ggos AS ggo WHERE ggo.owner_id = %(owner)s AND {rows}"
        return Source(rank, frozenset({kind}), time, "ggo.id", "0", moved, owned)

    def arriving(rank: int, kind: str, time: str, others: str, rows: str) -> Source:
        bucket = held_bucket("ggo", time, ledger_enabled=ledger_enabled)
        return of_ggos(rank, kind, time, f"'outside', {bucket}", others, rows)

    def received(time: str, rows: str) -> Source:
        from_others = f"ggo.sender_id <> ggo.owner_id AND {rows}"
        return arriving(
            RECEIVED, "receive", time, "NULL::uuid, ggo.sender_id, ggo.reference", from_others
        )

    return [
        arriving(
            ISSUED,
            "issue",
            "ggo.created_at",
            nothing,
            f"ggo.issue_gsrn IS NOT NULL AND {_indexed('ggo.created_at')}",
        ),
        received("ggo.settled_at", "ggo.settled_at IS NOT NULL"),
        # None if no row lacks its times.
        received(settled_at("ggo"), f"ggo.settled_at IS NULL AND {_SOME_WITHOUT_TIMES}"),
        of_ggos(
            EXPIRED,
            "expire",
            "ggo.expire_time",
            f"{unknown_before}, 'expired'",
            nothing,
            f"ggo.stored AND {_indexed('ggo.expire_time')} "
            f"AND {began_at('ggo')} < ggo.expire_time AND {HELD_AT_EXPIRY.format(ggo='ggo')}",
        ),
    ]


def _batch_sources(kinds: Collection[str], *, ledger_enabled: bool) -> list[Source]:
    """Return the sources of what orders move: at their acceptance, and at their completion."""
    # A batch that was sent has no line of another kind: they need not be made to see that.
    accepted = "true" if {"send", "retire"} & set(kinds) else "batch.never_sent"
    unknown = is_unknown_to_ledger("source", ledger_enabled=ledger_enabled)

    def of_batches(
        rank: int, kinds: set[str], time: str, moves: str, lines: str, rows: str
    ) -> Source:
        columns = (
            f"part.kind, part.amount, {moves}, part.address, {GGO_COLUMNS.format(ggo='source')}, "
            "batch.operation_id, part.counterpart, part.reference"
        )
        joined = (
            f"{BATCHES} CROSS JOIN LATERAL ({lines}) AS part "
            f"WHERE batch.user_id = %(owner)s AND {rows}"
        )
        row, position, operation = "batch.id", "part.position", "batch.operation_id"
        return Source(rank, frozenset(kinds), time, row, position, columns, joined, operation)

    return [
        of_batches(
            ACCEPTED,
            {"send", "retire", "correct"},
            "batch.created_at",
            f"CASE WHEN {unknown} AND part.kind <> 'correct' THEN 'blocked' ELSE 'available' END, "
            "part.target",
            batch_lines(ledger_enabled=ledger_enabled),
            f"{accepted} AND batch.state <> 'DECLINED' "
            "AND NOT EXISTS (SELECT FROM rollbacks WHERE rollbacks.batch_id = batch.id)",
        ),
        of_batches(
            COMPLETED,
            {"send", "retire"},
            "batch.ended_at",
            "part.target, CASE WHEN part.kind = 'send' THEN 'outside' ELSE 'retired' END",
            batch_lines(ledger_enabled=False),
            "batch.state = 'COMPLETED'",
        ),
    ]


def _indexed(time: str) -> str:
    """Return a condition that always holds, and that a partial index of this time needs.

    A prepared statement cannot tell it from the bounds of the period.
    """
    return f"{time} < 'infinity'"


# By the order of its partial index, which has few rows.
_SOME_WITHOUT_TIMES = f"""(
    SELECT id FROM ggos WHERE {WITHOUT_TIMES} ORDER BY id LIMIT 1
) IS NOT NULL"""

BATCHES = "batches AS batch JOIN ggos AS source ON source.id = batch.ggo_id"


def batch_lines(*, ledger_enabled: bool) -> str:
    """Return the moves of a batch at its acceptance: to `pendingOut`, to `pendingRetired`.

    What stays the account's own is no move. But if the batch was never sent to the ledger, which is on
    now, it is blocked.
    """
    moves = f"""
SELECT 2 * part.split_position AS position, part.amount,
    CASE WHEN part.owner_id = batch.user_id THEN 'retire' ELSE 'send' END AS kind,
    CASE WHEN part.owner_id = batch.user_id THEN 'pendingRetired' ELSE 'pendingOut' END AS target,
    CASE WHEN part.owner_id = batch.user_id THEN part.address ELSE source.address END AS address,
    CASE WHEN part.owner_id <> batch.user_id THEN part.owner_id END AS counterpart,
    CASE WHEN part.owner_id <> batch.user_id THEN part.reference END AS reference
FROM ggos AS part WHERE part.parent_id = batch.ggo_id
    AND (part.owner_id <> batch.user_id OR {is_born_retired("part")})
UNION ALL
SELECT 0, source.amount, 'retire', 'pendingRetired', source.address, NULL, NULL
WHERE source.retire_gsrn IS NOT NULL
"""
    if not ledger_enabled:
        return moves
    unknown = is_unknown_to_ledger("source", ledger_enabled=ledger_enabled)
    return f"""{moves} UNION ALL
SELECT 2 * part.split_position + 1, part.amount, 'correct', 'blocked', part.address, NULL, NULL
FROM ggos AS part WHERE part.parent_id = batch.ggo_id AND batch.never_sent
    AND part.owner_id = batch.user_id AND NOT {is_born_retired("part")} AND NOT {unknown}
"""


# At its expiry nothing is in flight that is rolled back later, and the GGO is not blocked.
HELD_AT_EXPIRY = """NOT EXISTS (
    SELECT FROM rollbacks AS other WHERE other.ggo_id = {ggo}.id AND (
        (other.accepted_at < {ggo}.expire_time AND {ggo}.expire_time <= other.declined_at)
        OR (other.blocked AND other.declined_at < {ggo}.expire_time
            AND {ggo}.expire_time <= other.unblocked_at)
    )
)"""


def before_expiry(ggo: str, *, ledger_enabled: bool) -> str:
    """Return the bucket that a GGO leaves when it expires."""
    unknown = is_unknown_to_ledger(ggo, ledger_enabled=ledger_enabled)
    return f"CASE WHEN {ggo}.key_mismatch OR {unknown} THEN 'blocked' ELSE 'available' END"
