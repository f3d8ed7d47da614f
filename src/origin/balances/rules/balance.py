"""A balance, and how balances are grouped (contract: v2, Balances and statements of account)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import lru_cache
from zoneinfo import ZoneInfo

from origin.errors import Rejected
from origin.keys.derivation import HARDENED
from origin.shared.periods import Resolution, day_begin, period_number


class Bucket(Enum):
    """Where an account's Wh are. The value is the wire's name."""

    OUTSIDE = "outside"
    """With nobody yet, or with another account. No balance shows it."""
    AVAILABLE = "available"
    PENDING_OUT = "pendingOut"
    PENDING_IN = "pendingIn"
    """On its way to the account. It becomes the account's when the ledger has committed it."""
    PENDING_RETIRED = "pendingRetired"
    RETIRED = "retired"
    EXPIRED = "expired"
    BLOCKED = "blocked"


class Flow(Enum):
    """How Wh came to an account, or left it. The value is the wire's name."""

    ISSUED = "issued"
    RECEIVED = "received"
    SENT = "sent"


class GroupBy(Enum):
    """What balances are grouped by. The value is the wire's name."""

    SECTOR = "sector"
    TECHNOLOGY = "technology"
    MONTH = "month"
    """The local month of a GGO's begin."""


AMOUNTS = (
    *(each.value for each in Bucket if each is not Bucket.OUTSIDE),
    *(each.value for each in Flow),
)
"""The wire's names of the amounts of a balance."""

Amounts = Mapping[str, int]
"""Wh by each of `AMOUNTS`.

issued + received = sent + retired + expired + available + blocked + pendingOut + pendingRetired.
"""


@dataclass(frozen=True)
class Group:
    """The balance of the GGOs that have these values in common, in the order of the grouping."""

    values: tuple[str, ...]
    amounts: Amounts


@dataclass(frozen=True)
class Balances:
    """An account's balance as it was known at a moment.

    :ivar at: The moment, in UTC.
    :ivar groups: Sorted by their values; none without a grouping.
    """

    at: datetime
    total: Amounts
    groups: tuple[Group, ...]


def no_amounts() -> dict[str, int]:
    """Return a balance of zeros."""
    return dict.fromkeys(AMOUNTS, 0)


def sum_up(at: datetime, sums: Iterator[tuple[tuple[str, ...], str, int]]) -> Balances:
    """Return the balances of these sums.

    :param sums: Values of the grouping, a name of `AMOUNTS`, and Wh, which may be negative.
    """
    total = no_amounts()
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for values, name, amount in sums:
        total[name] += amount
        if values:
            groups.setdefault(values, no_amounts())[name] += amount
    found = (Group(values, groups[values]) for values in sorted(groups))
    return Balances(at, total, tuple(each for each in found if any(each.amounts.values())))


@lru_cache(maxsize=16)
def month_begins(zone: ZoneInfo) -> Mapping[str, datetime]:
    """Return when each local month begins, in UTC, in order, by the wire's name.

    They are the months in which a GGO may begin: for others there are no keys.
    """
    ends = (datetime.fromtimestamp(each, UTC).astimezone(zone) for each in (0, HARDENED))
    first, last = (period_number(each, Resolution.MONTH) for each in ends)
    days = (date(number // 12, number % 12 + 1, 1) for number in range(first, last + 1))
    return {f"{day:%Y-%m}": day_begin(day, zone) for day in days}


@dataclass(eq=False)
class MomentAhead(Rejected):
    """The balance of a moment in the future is asked for. `now` is the moment by the database's clock."""

    code = "moment_ahead"
    now: datetime


class MomentOpen(Rejected):
    """Orders are being written that may belong to the moment asked for. It is told once they are."""

    code = "moment_open"
