"""Planning a bulk transfer: which GGO gives how much to which target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from origin.bulk.rules.limits import MAX_PARTS, MAX_SOURCES, check_plan_size
from origin.bulk.rules.plan import Part, Plan, item_of, made_plan
from origin.bulk.rules.stock import Candidate, GgoOrder, in_order
from origin.bulk.rules.takes import WHOLE, All, Amount, Percentage, Shortfall, Take
from origin.compose.rules import AccountUnavailable, PartKind, Recipient
from origin.errors import Rejected


class TakesMixed(Rejected):
    """Several targets take neither amounts alone nor percentages alone."""

    code = "takes_mixed"


class PercentagesAbove100(Rejected):
    """The targets' percentages together are above 100."""

    code = "percentages_above_100"


@dataclass(eq=False)
class SameAccount(Rejected):
    """The caller names itself as a target.

    :ivar positions: Of these targets, from 0.
    """

    code = "same_account"
    positions: Sequence[int]


@dataclass(frozen=True)
class Target:
    """A recipient by subject, the sender's reference, and how much the recipient gets."""

    account: str
    take: Take
    reference: str | None = None


class Spread(Enum):
    """How an amount is spread over the GGOs, by the wire's names."""

    SEQUENTIAL = "sequential"
    PROPORTIONAL = "proportional"


_Column = Sequence[int]
"""Wh of each candidate, in order."""


def check_takes(targets: Sequence[Target]) -> None:
    """Check that the targets' takes go together. `all` goes with no other target.

    :raises TakesMixed: They are of different kinds, or several take all.
    :raises PercentagesAbove100: The percentages are above 100 together.
    """
    takes = [target.take for target in targets]
    kinds = {type(take) for take in takes}
    if len(kinds) > 1 or (kinds == {All} and len(takes) > 1):
        raise TakesMixed
    if sum(take.share for take in takes if isinstance(take, Percentage)) > WHOLE:
        raise PercentagesAbove100


def check_accounts(
    targets: Sequence[Target], sender: str, recipients: Mapping[str, Recipient]
) -> None:
    """Check that all targets can receive GGOs from this sender. One account may be several targets.

    :param sender: The caller's subject.
    :param recipients: Known accounts by subject.
    :raises SameAccount: The sender is a target.
    :raises AccountUnavailable: A target is unknown or disabled: one answer for both.
    """
    own = [place for place, target in enumerate(targets) if target.account == sender]
    if own:
        raise SameAccount(own)
    unavailable = [
        place
        for place, target in enumerate(targets)
        if target.account not in recipients or recipients[target.account].disabled
    ]
    if unavailable:
        raise AccountUnavailable(targets[unavailable[0]].account, unavailable)


def plan_transfers(
    candidates: Sequence[Candidate],
    targets: Sequence[Target],
    order: GgoOrder,
    spread: Spread,
    shortfall: Shortfall,
    *,
    selected: int | None = None,
) -> Plan:
    """Plan a transfer. Targets are served in their order, until nothing is left.

    A percentage is of each GGO as it is, not of what earlier targets left, and `spread` means nothing to it. A
    target that gets 0 Wh of a GGO has no part of it.

    :param candidates: All that are selected, or the first in the order, if the rest cannot matter.
    :param targets: At least one, checked with `check_takes`.
    :param selected: Wh of all that are selected; None: of the candidates.
    :raises TooMany: The plan would be too large. This is told first.
    :raises NothingSelected: Nothing would be transferred.
    :raises Insufficient: Less than requested would be, and `shortfall` says to refuse.
    """
    ordered = in_order(candidates, order)
    amounts = [ggo.amount for ggo in ordered]
    columns, left = _columns(amounts, targets, spread)
    items = []
    for ggo, rest, shares in zip(ordered, left, zip(*columns, strict=True), strict=True):
        if rest < ggo.amount:
            parts = [
                Part(PartKind.TRANSFER, share, target.account, target.reference)
                for target, share in zip(targets, shares, strict=True)
                if share
            ]
            items.append(item_of(ggo, rest, transfers=parts))
    wanted = [target.take.amount for target in targets if isinstance(target.take, Amount)]
    return made_plan(
        items,
        selected=sum(amounts) if selected is None else selected,
        requested=sum(wanted) if wanted else sum(amounts) - sum(left),
        shortfall=shortfall,
    )


def _columns(
    amounts: _Column, targets: Sequence[Target], spread: Spread
) -> tuple[list[_Column], _Column]:
    """Return what each target gets of each GGO, and what is left of each.

    :raises TooMany: The plan would be too large.
    """
    left = amounts
    columns: list[_Column] = []
    parts = 0
    for target in targets:
        column = _column(amounts, left, target.take, spread)
        left = [rest - share for rest, share in zip(left, column, strict=True)]
        parts += len(column) - column.count(0)
        if parts <= MAX_PARTS:  # Beyond, parts are only counted, so that they take no memory.
            columns.append(column)
        elif len(_rests(amounts, left)) > MAX_SOURCES:
            break  # The plan is too large, whatever the other targets get.
    rests = _rests(amounts, left)
    remainders = len(rests) - rests.count(0)
    check_plan_size(len(rests), parts + remainders, most_of_one=len(targets) + 1)
    return columns, left


def _rests(amounts: _Column, left: _Column) -> _Column:
    """Return what is left of each GGO that is used."""
    return [rest for amount, rest in zip(amounts, left, strict=True) if rest < amount]


def _column(amounts: _Column, left: _Column, take: Take, spread: Spread) -> _Column:
    match take:
        case All():
            return left
        case Percentage():
            return [take.of(amount) for amount in amounts]
        case Amount():
            each = sequential if spread is Spread.SEQUENTIAL else proportional
            return each(min(take.amount, sum(left)), left)


def sequential(wanted: int, left: _Column) -> _Column:
    """Take whole GGOs in their order, and split at most the last of them.

    The next target goes on with the rest of that GGO.

    :param wanted: Wh, at most the sum of `left`.
    """
    column = [0] * len(left)
    for place, rest in enumerate(left):
        if not wanted:
            break
        column[place] = share = min(rest, wanted)
        wanted -= share
    return column


def proportional(wanted: int, left: _Column) -> _Column:
    """Take the same share of each GGO, by largest remainders, ties by the order.

    Each share is the exact one, rounded down or up to the Wh: `wanted` times what is left of the GGO, by what
    is left of all.

    :param wanted: Wh, at most the sum of `left`.
    """
    total = sum(left)
    if not wanted:
        return [0] * len(left)
    column = [wanted * rest // total for rest in left]
    missing = wanted - sum(column)
    if missing:
        remainders = [
            wanted * rest - share * total for rest, share in zip(left, column, strict=True)
        ]
        # The sort is stable, also in reverse: ties stay in order.
        by_remainder = sorted(range(len(left)), key=remainders.__getitem__, reverse=True)
        for place in by_remainder[:missing]:
            column[place] += 1
    return column
