"""SQL that tells which entries may still be being written.

Each entry has its time from `entry_time()`, which its transaction calls after it has got its id. So an
entry with a time up to T belongs to a transaction that has ended, or that is open when T has passed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from origin.db.engine import Database

# Of this database's processes, whose role is ours: PostgreSQL hides the transactions of other roles.
# `pg_current_snapshot()` would not do: it lists no transaction that is newer than the last to have ended.
_OPEN = """
SELECT backend_xid::text AS xid, coalesce(xact_start, backend_start) AS began
FROM pg_stat_get_activity(NULL) AS process
WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""
_LOOK = f"""
SELECT statement_timestamp(), history_from,
    (SELECT json_agg(json_build_array(xid, began)) FROM ({_OPEN}) AS open)
FROM users WHERE id = %(user)s
"""
_STILL_OPEN = f"SELECT xid, began FROM ({_OPEN}) AS open WHERE xid = ANY(%(xids)s::text[])"


@dataclass(frozen=True)
class Writer:
    """A transaction that is open and may write entries.

    :ivar began: None of its entries has an earlier time.
    """

    xid: str
    began: datetime


@dataclass(frozen=True)
class Look:
    """What the database says at one moment.

    :ivar now: The moment, by the database's clock.
    :ivar history_from: When the account's history begins; None: it is complete.
    :ivar writers: Every transaction that may still write an entry of `now` or before.
    """

    now: datetime
    history_from: datetime | None
    writers: tuple[Writer, ...]


def look(database: Database, user_id: int) -> Look:
    """Return the current moment, and who may still write entries of it."""
    ((now, history_from, open_now),) = database.prepared(_LOOK, {"user": user_id})
    writers = (Writer(xid, datetime.fromisoformat(began)) for xid, began in open_now or ())
    return Look(now, history_from, tuple(writers))


def still_open(database: Database, writers: Collection[Writer]) -> tuple[Writer, ...]:
    """Return those of these transactions that are still open."""
    rows = database.prepared(_STILL_OPEN, {"xids": [each.xid for each in writers]})
    return tuple(Writer(*row) for row in rows)
