"""SQL of entries, in the order of their times.

No table holds them: they follow from GGOs, batches and rollbacks, whose times never change. Each source
(`entry_sources`) reads one index from the cursor on, and only as many rows as a page has. The few rollbacks of an
account are read whole. An entry whose GGO, batch or rollback gets another row later keeps its key: its row
is that of the batch, or the id that the rollback has kept.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from origin.balances.queries.balances import Account
from origin.balances.queries.entry_openings import openings
from origin.balances.queries.entry_rollbacks import rolled_back
from origin.balances.queries.entry_sources import NO_BEGIN, Source, sources
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

_KINDS = {each.value for each in EntryKind}


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
        for source in sources(kinds, ledger_enabled=ledger_enabled)
        if source.kinds & kinds and (source.operation is not None or filters.operation is None)
    ]
    if opens and EntryKind.OPENING.value in kinds and filters.operation is None:
        branches += openings(after, ledger_enabled=ledger_enabled)
    branches.append(
        rolled_back(
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
    source: Source, after: EntryKey | None, kinds: Collection[str], *, has_operation: bool
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
SELECT {time}, {source.rank}, {NO_BEGIN}, {row}, {source.position}, {source.columns}
FROM {source.rows} AND {" AND ".join(tests)}
ORDER BY {time}, {row}{by_position} LIMIT %(limit)s
"""


def _beyond(source: Source, after: EntryKey) -> list[str]:
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
