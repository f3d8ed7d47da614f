"""Statements of account: an opening balance, the entries of a period, a closing balance."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import chain, islice
from zoneinfo import ZoneInfo

from origin.balances.rules.balance import Balances
from origin.balances.rules.entries import Entry


@dataclass(frozen=True)
class Statement:
    """A statement of account.

    :ivar opening: The balance right before the period; `closing`: right before its end.
    :ivar lines: The entries between, oldest first. They are read as they are taken, once.
    """

    opening: Balances
    lines: Iterator[Entry]
    closing: Balances


@dataclass(frozen=True)
class MonthlySum:
    """The entries of a local month that move Wh between the same buckets for the same reason.

    :ivar month: Any local time of it.
    """

    month: datetime
    kind: str
    source: str
    target: str
    count: int
    amount: int


@dataclass
class Digest:
    """Entries as few rows: each of them if they are few, else their sums by month.

    :ivar few: The entries; None if they are too many.
    :ivar months: In the order of time.
    :ivar fingerprint: Of all entries.
    """

    count: int = 0
    few: list[Entry] | None = None
    months: list[MonthlySum] = field(default_factory=list)
    fingerprint: str = ""


def digest_of(lines: Iterable[Entry], most: int, zone: ZoneInfo) -> Digest:
    """Return the entries themselves up to `most`, else their sums by local month.

    It reads them once, and keeps no more than `most`.
    """
    rest = iter(lines)
    kept = list(islice(rest, most + 1))
    digest = Digest(few=kept if len(kept) <= most else None)
    sums: dict[tuple[str, str, str, str], MonthlySum] = {}
    named = sha256()
    for entry in chain(kept, rest):
        named.update(entry.id.bytes)
        digest.count += 1
        if digest.few is None:
            _add(sums, entry, entry.key.at.astimezone(zone))
    digest.months = list(sums.values())
    digest.fingerprint = named.hexdigest()
    return digest


def _add(sums: dict[tuple[str, str, str, str], MonthlySum], entry: Entry, local: datetime) -> None:
    kind, source, target = entry.kind.value, entry.source, entry.target
    key = (f"{local:%Y-%m}", kind, source, target)
    before = sums.get(key)
    count, amount = (before.count, before.amount) if before else (0, 0)
    sums[key] = MonthlySum(local, kind, source, target, count + 1, amount + entry.amount)
