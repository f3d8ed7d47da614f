"""The GGOs that an order may spend, and the order in which it spends them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Candidate:
    """A GGO of the caller's that is selected and can be spent now; times in UTC.

    :ivar amount: Wh.
    :ivar technology: The label, `Unknown` where there is none.
    """

    id: int
    address: str
    amount: int
    begin: datetime
    end: datetime
    sector: str
    technology: str
    issue_time: datetime
    expire_time: datetime


class GgoOrder(Enum):
    """Which GGOs are spent first, by the wire's names."""

    EXPIRY_FIRST = "expiry_first"
    OLDEST_FIRST = "oldest_first"
    NEWEST_FIRST = "newest_first"
    LARGEST_FIRST = "largest_first"


_TIES = attrgetter("begin", "sector", "issue_time", "address")
_FIRST_BY = {
    GgoOrder.EXPIRY_FIRST: (attrgetter("expire_time"), False),
    GgoOrder.OLDEST_FIRST: (attrgetter("begin"), False),
    GgoOrder.NEWEST_FIRST: (attrgetter("begin"), True),
    GgoOrder.LARGEST_FIRST: (attrgetter("amount"), True),
}


def in_order(candidates: Iterable[Candidate], order: GgoOrder) -> list[Candidate]:
    """Sort the candidates. Ties go by begin, sector, issue time and address, the lowest first.

    Addresses are unique, so the result does not depend on how the candidates came.
    """
    first_by, descending = _FIRST_BY[order]
    ordered = sorted(candidates, key=_TIES)
    ordered.sort(key=first_by, reverse=descending)
    return ordered
