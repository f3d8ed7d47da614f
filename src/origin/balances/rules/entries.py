"""Entries: the lines that a balance is the sum of (contract: v2, Balances and statements of account)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from uuid import UUID

from origin.shared.periods import EARLIEST
from origin.shared.uuid7 import uuid7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
"""The step of times: PostgreSQL keeps no shorter one."""


def moment_before(moment: datetime) -> datetime:
    """Return the last moment before this one; of the first moment of all, itself."""
    return max(moment, EARLIEST + MICROSECOND) - MICROSECOND


class EntryKind(Enum):
    """What an entry tells. The value is the wire's name."""

    ISSUE = "issue"
    RECEIVE = "receive"
    SEND = "send"
    """Two entries: when the order is accepted, and when the ledger has committed it."""
    RETIRE = "retire"
    """Two entries, as of `SEND`."""
    EXPIRE = "expire"
    UNDO = "undo"
    """The ledger refused the order: its Wh move back."""
    REDO = "redo"
    """The ledger has committed an undone order after all."""
    CORRECT = "correct"
    """Moves Wh to or from `blocked`."""
    OPENING = "opening"
    """What the account held when its history begins: at its adoption, or after a recovery."""


@dataclass(frozen=True)
class EntryKey:
    """The place of an entry in the order of an account's entries. No two have the same, and none changes.

    :ivar at: The entry's time, in UTC.
    :ivar rank: Of its source (`origin.balances.queries.entries`), which orders entries of one time.
    :ivar begin: The GGO's begin, for opening entries; else a constant.
    :ivar row: The row's id in the source: a GGO, or a batch.
    :ivar position: Among the entries of that row.
    """

    at: datetime
    rank: int
    begin: datetime
    row: int
    position: int

    def as_tuple(self) -> tuple[datetime, int, datetime, int, int]:
        """Return the parts in the order by which entries are sorted."""
        return (self.at, self.rank, self.begin, self.row, self.position)


@dataclass(frozen=True)
class Entry:
    """A move of Wh between two buckets of one account.

    :ivar amount: Wh, above 0.
    :ivar source: The wire's name of the bucket that it leaves; `target`: that it comes to.
    :ivar address: Of the account's GGO: of a transfer the one that it was made of, else the very one.
    :ivar counterpart: The subject of the other account; None: there is none.
    """

    key: EntryKey
    id: UUID
    kind: EntryKind
    amount: int
    source: str
    target: str
    address: str
    begin: datetime
    end: datetime
    sector: str
    technology: str
    operation: UUID | None
    counterpart: str | None
    reference: str | None


def entry_id(user_id: int, kind: str, key: EntryKey) -> UUID:
    """Return the id of an account's entry: a UUID of version 7, the same each time.

    The time is the entry's. What is random in other ids is a hash of what the entry is.
    """
    named = f"{user_id} {kind} {key.rank} {key.row} {key.position}"
    return uuid7(max(key.at, _EPOCH), sha256(named.encode()).digest())


@dataclass(frozen=True)
class EntryFilters:
    """Which entries are asked for.

    :ivar begin: The earliest time, included.
    :ivar end: The first time that is not included.
    :ivar kinds: None are all kinds.
    :ivar operation: Only those of this operation.
    """

    begin: datetime
    end: datetime
    kinds: Sequence[EntryKind] = ()
    operation: UUID | None = None
