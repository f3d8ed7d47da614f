"""SQL of entries, in the order of their times.

No table holds them: they follow from GGOs, batches and rollbacks, whose times never change. Each source
below reads one index from the cursor on, and only as many rows as a page has. The few rollbacks of an
account are read whole. An entry whose GGO, batch or rollback gets another row later keeps its key: its row
is that of the batch, or the id that the rollback has kept.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from origin.balances.queries.back_fill import WITHOUT_TIMES
from origin.balances.queries.balances import Account
from origin.balances.queries.facts import (
    PARTS,
    WHOLE_RETIRE,
    began_at,
    block_ended_at,
    held_bucket,
    is_born_retired,
    is_in_flight_at,
    is_incoming,
    is_unknown_to_ledger,
    retired_at,
    settled_at,
    spent_at,
)
from origin.balances.rules.entries import (
    MICROSECOND,
    Entry,
    EntryFilters,
    EntryKey,
    EntryKind,
    entry_id,
    moment_before,
)
from origin.db.engine import Database

_OPENED, _OPENED_PENDING = 0, 2
_ISSUED, _RECEIVED = 3, 4
_UNBLOCKED, _REDONE, _ACCEPTED, _COMPLETED = 5, 6, 7, 8
_EXPIRED, _UNDONE, _BLOCKED = 9, 10, 11
"""The ranks of the sources: entries of one time are sorted by them."""

_KINDS = {each.value for each in EntryKind}
_GGO = '{ggo}.begin, {ggo}."end", {ggo}.sector, {ggo}.technology_code, {ggo}.fuel_code'
_NO_BEGIN = "timestamptz 'epoch'"


@dataclass(frozen=True)
class _Source:
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


def entries(
    database: Database,
    account: Account,
    at: datetime,
    filters: EntryFilters,
    after: EntryKey | None,
    limit: int,
    *,
    ledger_enabled: bool,
) -> list[Entry]:
    """Return the next entries of an account, oldest first.

    :param at: A moment of which no entry is written any more: only entries up to it are returned.
    :param after: Only entries that come after this one.
    """
    history = account.history_from
    high = min(at, moment_before(filters.end))
    low = filters.begin if history is None else max(filters.begin, history + MICROSECOND)
    kinds = {each.value for each in filters.kinds} or _KINDS
    values: dict[str, Any] = {
        "owner": account.id,
        "history": history,
        "low": low,
        "high": high,
        "limit": limit,
        "kinds": sorted(kinds),
        "operation": None if filters.operation is None else str(filters.operation),
    }
    opens = history is not None and filters.begin <= history <= high
    if after is not None:
        values |= _place(after)
    branches = [
        _branch(source, after, kinds, has_operation=filters.operation is not None)
        for source in _sources(kinds, ledger_enabled=ledger_enabled)
        if source.kinds & kinds and (source.operation is not None or filters.operation is None)
    ]
    if opens and EntryKind.OPENING.value in kinds and filters.operation is None:
        branches += _openings(after, ledger_enabled=ledger_enabled)
    branches.append(
        _rolled_back(
            after,
            opens=opens,
            has_operation=filters.operation is not None,
            ledger_enabled=ledger_enabled,
        )
    )
    return list(_read(account.id, database.prepared(_page(branches), values)))


def _read(user_id: int, rows: Sequence[tuple[Any, ...]]) -> Iterator[Entry]:
    for at, rank, key_begin, row, position, kind, amount, *others in rows:
        key = EntryKey(at, rank, key_begin, row, position)
        yield Entry(key, entry_id(user_id, kind, key), EntryKind(kind), int(amount), *others)


_COLUMNS = (
    *("at", "rank", "key_begin", "row", "position", "kind", "amount", "source", "target"),
    *("address", "begin", '"end"', "sector", "technology_code", "fuel_code"),
    *("operation", "counterpart", "reference"),
)
_KEY = "at, rank, key_begin, row, position"


def _page(branches: Collection[str]) -> str:
    rows = " UNION ALL ".join(f"({each})" for each in branches)
    return f"""
SELECT {_KEY}, kind, amount, source, target, address, begin, "end", sector,
    coalesce(technology, 'Unknown'), operation, subject, reference
FROM (SELECT * FROM ({rows}) AS entry ({", ".join(_COLUMNS)}) ORDER BY {_KEY} LIMIT %(limit)s) AS page
LEFT JOIN technologies USING (technology_code, fuel_code)
LEFT JOIN users ON users.id = counterpart
ORDER BY {_KEY}
"""


def _place(after: EntryKey) -> dict[str, Any]:
    names = ("after_at", "after_rank", "after_begin", "after_row", "after_position")
    return dict(zip(names, after.as_tuple(), strict=True))


def _branch(
    source: _Source, after: EntryKey | None, kinds: Collection[str], *, has_operation: bool
) -> str:
    """Return the statement of the source's next entries."""
    time, row = source.time, source.row
    tests = [f"{time} BETWEEN %(low)s AND %(high)s"]
    if after is not None:
        tests += _beyond(source, after)
    if not source.kinds <= set(kinds):
        tests.append("part.kind = ANY(%(kinds)s)")
    if has_operation:
        tests.append(f"{source.operation} = %(operation)s::uuid")
    # A number would be the place of a column.
    by_position = "" if source.position == "0" else f", {source.position}"
    return f"""
SELECT {time}, {source.rank}, {_NO_BEGIN}, {row}, {source.position}, {source.columns}
FROM {source.rows} AND {" AND ".join(tests)}
ORDER BY {time}, {row}{by_position} LIMIT %(limit)s
"""


def _beyond(source: _Source, after: EntryKey) -> list[str]:
    """Return the conditions that an entry of this source comes after the key."""
    time, row = source.time, source.row
    if source.rank != after.rank:
        sign = ">=" if source.rank > after.rank else ">"
        return [f"{time} {sign} %(after_at)s"]
    # The first follows from the second, and is a bound for the index.
    return [
        f"({time}, {row}) >= (%(after_at)s, %(after_row)s)",
        f"({time}, {row}, {source.position}) > (%(after_at)s, %(after_row)s, %(after_position)s)",
    ]


def _sources(kinds: Collection[str], *, ledger_enabled: bool) -> list[_Source]:
    # A batch that was sent has no line of another kind: they need not be made to see that.
    accepted = "true" if {"send", "retire"} & set(kinds) else "batch.never_sent"
    ggo = _GGO.format(ggo="ggo")
    batch = _GGO.format(ggo="source")
    unknown = is_unknown_to_ledger("source", ledger_enabled=ledger_enabled)

    def held(at: str) -> str:
        return held_bucket("ggo", at, ledger_enabled=ledger_enabled)

    def received(rows: str, time: str) -> _Source:
        return _Source(
            _RECEIVED,
            frozenset({"receive"}),
            time,
            "ggo.id",
            "0",
            f"'receive', ggo.amount, 'outside', {held(time)}, ggo.address, {ggo}, NULL::uuid, "
            "ggo.sender_id, ggo.reference",
            f"ggos AS ggo WHERE ggo.owner_id = %(owner)s AND ggo.sender_id <> ggo.owner_id AND {rows}",
        )

    return [
        _Source(
            _ISSUED,
            frozenset({"issue"}),
            "ggo.created_at",
            "ggo.id",
            "0",
            f"'issue', ggo.amount, 'outside', {held('ggo.created_at')}, ggo.address, {ggo}, "
            "NULL::uuid, NULL::bigint, NULL",
            "ggos AS ggo WHERE ggo.owner_id = %(owner)s AND ggo.issue_gsrn IS NOT NULL "
            f"AND {_indexed('ggo.created_at')}",
        ),
        received("ggo.settled_at IS NOT NULL", "ggo.settled_at"),
        # None if no row lacks its times.
        received(f"ggo.settled_at IS NULL AND {_SOME_WITHOUT_TIMES}", settled_at("ggo")),
        _Source(
            _ACCEPTED,
            frozenset({"send", "retire", "correct"}),
            "batch.created_at",
            "batch.id",
            "part.position",
            f"part.kind, part.amount, CASE WHEN {unknown} AND part.kind <> 'correct' THEN 'blocked' "
            f"ELSE 'available' END, part.target, part.address, {batch}, batch.operation_id, "
            "part.counterpart, part.reference",
            f"{_BATCH_LINES} CROSS JOIN LATERAL ({_lines(ledger_enabled=ledger_enabled)}) AS part "
            f"WHERE {accepted} AND batch.user_id = %(owner)s AND batch.state <> 'DECLINED' "
            "AND NOT EXISTS (SELECT FROM rollbacks WHERE rollbacks.batch_id = batch.id)",
            "batch.operation_id",
        ),
        _Source(
            _COMPLETED,
            frozenset({"send", "retire"}),
            "batch.ended_at",
            "batch.id",
            "part.position",
            "part.kind, part.amount, part.target, "
            "CASE WHEN part.kind = 'send' THEN 'outside' ELSE 'retired' END, "
            f"part.address, {batch}, batch.operation_id, part.counterpart, part.reference",
            f"{_BATCH_LINES} CROSS JOIN LATERAL ({_lines(ledger_enabled=False)}) AS part "
            "WHERE batch.user_id = %(owner)s AND batch.state = 'COMPLETED'",
            "batch.operation_id",
        ),
        _Source(
            _EXPIRED,
            frozenset({"expire"}),
            "ggo.expire_time",
            "ggo.id",
            "0",
            f"'expire', ggo.amount, {_before_expiry('ggo', ledger_enabled=ledger_enabled)}, 'expired', "
            f"ggo.address, {ggo}, NULL::uuid, NULL::bigint, NULL",
            f"ggos AS ggo WHERE ggo.owner_id = %(owner)s AND ggo.stored "
            f"AND {_indexed('ggo.expire_time')} "
            f"AND {began_at('ggo')} < ggo.expire_time AND {_HELD_AT_EXPIRY.format(ggo='ggo')}",
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

_BATCH_LINES = "batches AS batch JOIN ggos AS source ON source.id = batch.ggo_id"


def _lines(*, ledger_enabled: bool) -> str:
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
_HELD_AT_EXPIRY = """NOT EXISTS (
    SELECT FROM rollbacks AS other WHERE other.ggo_id = {ggo}.id AND (
        (other.accepted_at < {ggo}.expire_time AND {ggo}.expire_time <= other.declined_at)
        OR (other.blocked AND other.declined_at < {ggo}.expire_time
            AND {ggo}.expire_time <= other.unblocked_at)
    )
)"""


def _before_expiry(ggo: str, *, ledger_enabled: bool) -> str:
    unknown = is_unknown_to_ledger(ggo, ledger_enabled=ledger_enabled)
    return f"CASE WHEN {ggo}.key_mismatch OR {unknown} THEN 'blocked' ELSE 'available' END"


def _openings(after: EntryKey | None, *, ledger_enabled: bool) -> list[str]:
    """Return the statements of what the account had when its history began.

    First each GGO as if no order were in flight, then the moves of the orders that are. So the entries
    stay if the ledger refuses such an order.
    """
    ggo = _GGO.format(ggo="ggo")
    spent, held = spent_at("ggo"), held_bucket("ggo", "%(history)s", ledger_enabled=ledger_enabled)
    own = f"""
SELECT %(history)s::timestamptz, {_OPENED}, ggo.begin, ggo.id, 0, 'opening', ggo.amount, 'outside',
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
SELECT %(history)s::timestamptz, {_OPENED_PENDING}, {_NO_BEGIN}, batch.id, part.position, 'opening',
    part.amount, {held_bucket("source", "%(history)s", ledger_enabled=ledger_enabled)}, part.target,
    part.address, {_GGO.format(ggo="source")}, NULL::uuid, part.counterpart, part.reference
FROM {_BATCH_LINES} CROSS JOIN LATERAL ({_lines(ledger_enabled=False)}) AS part
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
    return f"(%(history)s, {_OPENED_PENDING}, batch.id, part.position) > ({place})"


def _opening_beyond(after: EntryKey | None) -> str:
    """Return the condition that an opening entry of a GGO comes after the key."""
    if after is None:
        return "true"
    place = "%(after_at)s::timestamptz, %(after_rank)s, %(after_begin)s, %(after_row)s"
    return f"(%(history)s, {_OPENED}, ggo.begin, ggo.id) > ({place})"


def _rolled_back(
    after: EntryKey | None, *, opens: bool, has_operation: bool, ledger_enabled: bool
) -> str:
    """Return the statement of the entries that rollbacks tell of."""

    def held(at: str) -> str:
        return held_bucket("source", at, ledger_enabled=ledger_enabled)

    tests = [
        f"(%(low)s <= move.at OR move.rank = {_OPENED_PENDING})",
        "move.at <= %(high)s",
        "move.kind = ANY(%(kinds)s)",
    ]
    if not opens:
        tests.append(f"move.rank <> {_OPENED_PENDING}")
    if has_operation:
        tests.append("move.operation = %(operation)s::uuid")
    if after is not None:
        place = "%(after_at)s, %(after_rank)s, %(after_begin)s, %(after_row)s, %(after_position)s"
        tests.append(f"(move.at, move.rank, {_NO_BEGIN}, move.row, move.position) > ({place})")
    opening = (
        f"""
        UNION ALL
        SELECT %(history)s, {_OPENED_PENDING}, rollback.batch_id, part.position, 'opening',
            part.amount, {held("%(history)s")}, part.target, part.address, NULL::uuid,
            part.counterpart, part.reference
        FROM part WHERE part.moves AND rollback.accepted_at <= %(history)s
            AND rollback.declined_at > %(history)s
        UNION ALL
        SELECT %(history)s, {_OPENED_PENDING}, rollback.batch_id, -1, 'opening', source.amount,
            {held("%(history)s")}, 'blocked', source.address, NULL, NULL, NULL
        WHERE rollback.blocked AND rollback.declined_at <= %(history)s
            AND {block_ended_at("rollback", "source")} > %(history)s
"""
        if opens
        else ""
    )
    return f"""
SELECT move.at, move.rank, {_NO_BEGIN}, move.row, move.position, move.kind, move.amount,
    move.source, move.target, move.address, {_GGO.format(ggo="source")}, move.operation,
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
            before_expiry=_before_expiry("source", ledger_enabled=ledger_enabled),
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
        SELECT rollback.accepted_at, {_ACCEPTED}, rollback.batch_id, part.position, part.kind,
            part.amount, {{accepted}}, part.target, part.address, batch.operation_id,
            part.counterpart, part.reference
        FROM part WHERE part.moves AND NOT EXISTS (
            SELECT FROM rollbacks AS earlier
            WHERE earlier.batch_id = rollback.batch_id AND earlier.id < rollback.id
        )
        UNION ALL
        SELECT rollback.declined_at, {_UNDONE}, rollback.id, part.position, 'undo', part.amount,
            part.target, {{declined}}, part.address, batch.operation_id, part.counterpart,
            part.reference
        FROM part WHERE part.moves
        UNION ALL
        SELECT rollback.redone_at, {_REDONE}, rollback.id, part.position, 'redo', part.amount,
            {{redone}}, part.target, part.address, batch.operation_id, part.counterpart,
            part.reference
        FROM part WHERE part.moves AND rollback.redone_at IS NOT NULL
        UNION ALL
        SELECT rollback.declined_at, {_BLOCKED}, rollback.id, 0, 'correct', source.amount,
            {{declined}}, 'blocked', source.address, batch.operation_id, NULL, NULL
        WHERE rollback.blocked AND {block_ended_at("rollback", "source")} > rollback.declined_at
        UNION ALL
        SELECT rollback.unblocked_at, {_UNBLOCKED}, rollback.id, 0, 'correct', source.amount,
            'blocked', {{unblocked}}, source.address, batch.operation_id, NULL, NULL
        WHERE rollback.blocked AND rollback.unblocked_at IS NOT NULL
        UNION ALL
        SELECT source.expire_time, {_EXPIRED}, coalesce(part.id, source.id),
            CASE WHEN part.id IS NULL THEN part.position + 1 ELSE 0 END, 'expire', part.amount,
            {{before_expiry}}, 'expired', part.address, NULL, NULL, NULL
        FROM part WHERE NOT part.moves AND rollback.accepted_at < source.expire_time
            AND source.expire_time <= rollback.declined_at
        UNION ALL
        SELECT source.expire_time, {_EXPIRED}, source.id, 0, 'expire', source.amount,
            {{before_expiry}}, 'expired', source.address, NULL, NULL, NULL
        WHERE NOT source.stored AND rollback.declined_at < source.expire_time
            AND source.expire_time <= rollback.redone_at
            AND {_HELD_AT_EXPIRY.format(ggo="source")}
            AND NOT EXISTS (
                SELECT FROM rollbacks AS earlier WHERE earlier.ggo_id = source.id
                    AND earlier.id < rollback.id AND earlier.declined_at < source.expire_time
                    AND source.expire_time <= earlier.redone_at
            )
"""
