"""Planning a bulk retirement: which GGO is retired to which measurement."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from origin.bulk.rules.limits import check_plan_size
from origin.bulk.rules.plan import Part, Plan, item_of, made_plan
from origin.bulk.rules.stock import Candidate, GgoOrder, in_order
from origin.bulk.rules.takes import All, Amount, Percentage, Shortfall, Take
from origin.compose.rules import PartKind
from origin.errors import MeteringPointUnavailable, Rejected

GIVE_UP_AFTER = timedelta(hours=24)
"""A queued order whose measurements DataHub couldn't give until then is refused."""


class MeasurementsUnavailable(Rejected):
    """DataHub could not give the measurements for 24 hours."""

    code = "measurements_unavailable"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A consumption that GGOs may be retired to; times in UTC.

    :ivar amount: Wh.
    :ivar retired: Wh that are retired to it already, in flight included. May exceed `amount`.
    """

    address: str
    gsrn: str
    begin: datetime
    end: datetime
    sector: str
    amount: int
    retired: int


@dataclass(frozen=True)
class RetirementOrder:
    """Which measurements and GGOs of one period come first. An entry that is named twice counts once.

    :ivar points: GSRNs; others come after them, by GSRN.
    :ivar technologies: Labels; others come after them, as equals.
    :ivar ggos: The order of the GGOs of one technology's rank.
    """

    points: Sequence[str] = ()
    technologies: Sequence[str] = ()
    ggos: GgoOrder = GgoOrder.EXPIRY_FIRST


@dataclass(slots=True)
class _OpenGgo:
    """A GGO with what is left of it (Wh), and the Wh that are retired to measurements."""

    ggo: Candidate
    left: int
    retires: list[tuple[int, Measurement]] = field(default_factory=list)


@dataclass(slots=True)
class _Pile:
    """The open GGOs of one period and sector. The next to be used is the last."""

    end: datetime
    sector: str
    ggos: list[_OpenGgo] = field(default_factory=list)


_Stock = Mapping[datetime, list[_Pile]]
"""Piles by begin, those without GGOs removed."""


def check_points(named: Iterable[str], own: Collection[str]) -> None:
    """Check that all these GSRNs are of the caller's own consumption points.

    :param named: Those of `against` and of `order.points`. Of the latter, points that are not chosen mean
        nothing.
    :raises MeteringPointUnavailable: Some are not.
    """
    missing = sorted(set(named).difference(own))
    if missing:
        raise MeteringPointUnavailable(missing)


def plan_retirements(
    candidates: Sequence[Candidate],
    measurements: Sequence[Measurement],
    order: RetirementOrder,
    take: Take,
    shortfall: Shortfall,
) -> Plan:
    """Plan a retirement: each measurement in order takes what it wants of the GGOs of its period and sector.

    Periods are the same if begin and end are. Measurements go by begin, the oldest first, then by point, also
    across sectors; a total amount is used up in that order. A percentage is of each measurement's unmet rest, and
    what one measurement misses no other gets. With `All`, `shortfall` means nothing.

    :param measurements: Of the chosen points and period, those without an unmet rest included or not.
    :raises TooMany: The plan would be too large. This is told first.
    :raises NothingSelected: Nothing would be retired.
    :raises Insufficient: Less than requested would be, and `shortfall` says to refuse.
    """
    wanted = sum(_want(measurement, take) for measurement in measurements)
    limit = take.amount if isinstance(take, Amount) else wanted
    stock = _stock(candidates, order)
    used = _matched(stock, _by_begin(measurements, stock, order.points), take, limit)
    parts = [len(each.retires) + (each.left > 0) for each in used]
    check_plan_size(len(used), sum(parts), max(parts, default=0))
    return made_plan(
        [
            item_of(each.ggo, each.left, retires=[_part(*retire) for retire in each.retires])
            for each in used
        ],
        selected=sum(ggo.amount for ggo in candidates),
        requested=limit,
        shortfall=None if isinstance(take, All) else shortfall,
    )


def _part(amount: int, measurement: Measurement) -> Part:
    return Part(
        PartKind.RETIRE,
        amount,
        gsrn=measurement.gsrn,
        measurement_address=measurement.address,
    )


def _want(measurement: Measurement, take: Take) -> int:
    """Return how much of the measurement's unmet rest the order wants, before a total amount ends it."""
    unmet = max(measurement.amount - measurement.retired, 0)
    return take.of(unmet) if isinstance(take, Percentage) else unmet


def _stock(candidates: Sequence[Candidate], order: RetirementOrder) -> _Stock:
    ranks = _ranks(order.technologies)
    ordered = in_order(candidates, order.ggos)
    ordered.sort(key=lambda ggo: ranks.get(ggo.technology, len(ranks)))
    stock: dict[datetime, list[_Pile]] = defaultdict(list)
    for ggo in reversed(ordered):
        pile = _pile_of(stock[ggo.begin], ggo)
        if pile is None:
            pile = _Pile(ggo.end, ggo.sector)
            stock[ggo.begin].append(pile)
        pile.ggos.append(_OpenGgo(ggo, ggo.amount))
    return stock


def _pile_of(piles: Iterable[_Pile], sought: Candidate | Measurement) -> _Pile | None:
    for pile in piles:  # Few: sectors, and lengths of a period.
        if pile.sector == sought.sector and pile.end == sought.end:
            return pile
    return None


def _ranks(names: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


def _by_begin(
    measurements: Sequence[Measurement], stock: _Stock, points: Sequence[str]
) -> Mapping[datetime, Sequence[Measurement]]:
    """Return those measurements whose begin some GGO has, by begin, in the order of their points.

    A point has one measurement of a begin: its address follows from both.
    """
    others = sorted({measurement.gsrn for measurement in measurements})
    ranks = _ranks([*points, *others])
    by_begin: dict[datetime, list[Measurement]] = defaultdict(list)
    for measurement in sorted(measurements, key=lambda each: ranks[each.gsrn]):
        if measurement.begin in stock:
            by_begin[measurement.begin].append(measurement)
    return by_begin


def _matched(
    stock: _Stock, by_begin: Mapping[datetime, Sequence[Measurement]], take: Take, limit: int
) -> list[_OpenGgo]:
    """Retire up to `limit` Wh in all to the measurements in their order.

    :returns: The GGOs that are used, in the order of their first use.
    """
    used: list[_OpenGgo] = []
    for begin in sorted(by_begin):
        piles = stock[begin]
        for measurement in by_begin[begin]:
            if not piles or not limit:
                break
            pile = _pile_of(piles, measurement)
            if pile is not None:
                want = min(_want(measurement, take), limit)
                limit -= _retire(pile.ggos, measurement, want, used)
                if not pile.ggos:
                    piles.remove(pile)
    return used


def _retire(ggos: list[_OpenGgo], measurement: Measurement, want: int, used: list[_OpenGgo]) -> int:
    """Retire up to `want` Wh of these GGOs, the last first, and return how much was retired.

    GGOs that are used up are removed; those that are used for the first time are appended to `used`.
    """
    missing = want
    while ggos and missing:
        ggo = ggos[-1]
        if not ggo.retires:
            used.append(ggo)
        amount = min(ggo.left, missing)
        ggo.retires.append((amount, measurement))
        ggo.left -= amount
        missing -= amount
        if not ggo.left:
            ggos.pop()
    return want - missing
