"""A plan: the GGOs that an order spends, with what becomes of each."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from origin.bulk.rules.stock import Candidate
from origin.bulk.rules.takes import Shortfall
from origin.compose.rules import PartKind
from origin.errors import Rejected

_Name = TypeVar("_Name", str, datetime)

SAMPLE_SIZE = 100
"""Items that the answer shows."""


class NothingSelected(Rejected):
    """The order would move 0 Wh: nothing is selected, nothing fits, or all shares round down to 0."""

    code = "nothing_selected"


@dataclass(eq=False)
class Insufficient(Rejected):
    """Only `available` Wh of the `requested` Wh could be moved, and the order asks to refuse that."""

    code = "insufficient"
    available: int
    requested: int


class PlanChanged(Rejected):
    """The plan is not the one that the caller expects."""

    code = "plan_changed"


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a GGO becomes; more than 0 Wh.

    :ivar account: The recipient's subject, for a transfer.
    :ivar reference: The sender's reference of the transfer.
    :ivar gsrn: The metering point, for a retire.
    :ivar measurement_address: The measurement's address, for a retire.
    """

    kind: PartKind
    amount: int
    account: str | None = None
    reference: str | None = None
    gsrn: str | None = None
    measurement_address: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A source GGO and its parts, which sum to its amount. It becomes a ledger batch of its own.

    :ivar parts: In the ledger's order: transfers in the order of their targets, the remainder, retires in
        the order of matching. If one retire takes the whole GGO, it is the only part.
    """

    source: Candidate
    parts: Sequence[Part]

    @property
    def moved(self) -> int:
        """The Wh that are transferred or retired."""
        return sum(part.amount for part in self.parts if part.kind is not PartKind.REMAINDER)


@dataclass(frozen=True)
class Totals:
    """Sums of a plan; Wh but for the last two.

    :ivar selected: Of all candidates.
    :ivar requested: The total amount; or the sum of the percentages, each rounded down; or, of `all`, what is
        selected, for retirements the unmet rest of the measurements.
    :ivar planned: What is transferred or retired.
    :ivar short: What is requested and not planned.
    :ivar ggos: The number of source GGOs.
    :ivar splits: How many of them become more than one part. A GGO that goes to one recipient as a whole is
        not counted, although the ledger calls this a split, too.
    """

    selected: int
    requested: int
    planned: int
    short: int
    ggos: int
    splits: int


@dataclass(frozen=True)
class Plan:
    """What an order does if it is carried out now.

    :ivar items: In the order in which the GGOs are used.
    :ivar by_technology: Planned Wh by the label, sorted. So are `by_sector` and `by_begin` (UTC).
    :ivar digest: See `digest_of`.
    """

    items: Sequence[Item]
    totals: Totals
    by_technology: Mapping[str, int]
    by_sector: Mapping[str, int]
    by_begin: Mapping[datetime, int]
    digest: str

    @property
    def sample(self) -> Sequence[Item]:
        """The first items, to be shown."""
        return self.items[:SAMPLE_SIZE]


def made_plan(
    items: Sequence[Item], *, selected: int, requested: int, shortfall: Shortfall | None
) -> Plan:
    """Return the plan of these items, if the order may be carried out like this.

    A plan of 0 Wh is `NothingSelected`, whatever `shortfall` says. So `Insufficient` tells of more than
    0 Wh that are available.

    :param items: As much as there is, up to what is requested.
    :param selected: Wh of all candidates.
    :param shortfall: None if the order takes all that there is.
    :raises NothingSelected: Nothing would be moved.
    :raises Insufficient: Less than requested would be moved, and `shortfall` says to refuse.
    """
    moved = [(item.source, item.moved) for item in items]
    planned = sum(amount for _, amount in moved)
    if not planned:
        raise NothingSelected
    if shortfall is Shortfall.REFUSE and planned < requested:
        raise Insufficient(planned, requested)
    splits = sum(len(item.parts) > 1 for item in items)
    return Plan(
        items,
        Totals(selected, requested, planned, requested - planned, len(items), splits),
        by_technology=_sums((source.technology, amount) for source, amount in moved),
        by_sector=_sums((source.sector, amount) for source, amount in moved),
        by_begin=_sums((source.begin, amount) for source, amount in moved),
        digest=digest_of(items),
    )


def _sums(amounts: Iterable[tuple[_Name, int]]) -> dict[_Name, int]:
    """Sum the amounts by name, sorted by name."""
    sums: dict[_Name, int] = defaultdict(int)
    for name, amount in amounts:
        sums[name] += amount
    return dict(sorted(sums.items()))


def item_of(
    source: Candidate, left: int, *, transfers: Sequence[Part] = (), retires: Sequence[Part] = ()
) -> Item:
    """Return the item of these parts; what is `left` of the source (Wh) is its remainder."""
    remainder = (Part(PartKind.REMAINDER, left),) if left else ()
    return Item(source, (*transfers, *remainder, *retires))


def digest_of(items: Sequence[Item]) -> str:
    """Return `sha256:` and the hex digest of what the plan moves.

    It covers the items in their order: each source's address and, in the ledger's order, each part's kind,
    Wh, recipient's subject, reference, GSRN and measurement's address, as JSON in ASCII without blanks. It
    covers no ids of the database, no child addresses, no totals: two plans that move the same have one digest,
    even if more is selected in the meantime.
    """
    canonical = [
        [
            item.source.address,
            [
                [
                    *(part.kind.value, part.amount, part.account, part.reference),
                    *(part.gsrn, part.measurement_address),
                ]
                for part in item.parts
            ],
        ]
        for item in items
    ]
    text = json.dumps(canonical, separators=(",", ":"))
    return f"sha256:{sha256(text.encode('ascii')).hexdigest()}"


def check_digest(plan: Plan, expected: str | None) -> None:
    """Check that the plan is the expected one, if the caller expects one.

    :raises PlanChanged: It is another.
    """
    if expected is not None and plan.digest != expected:
        raise PlanChanged
