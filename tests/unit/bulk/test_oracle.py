"""The planner against a plain one that moves 1 Wh at a time, with generated orders."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from origin.bulk.rules.plan import Insufficient, NothingSelected
from origin.bulk.rules.retirements import RetirementOrder, plan_retirements
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import All, Amount, Percentage, Shortfall
from origin.bulk.rules.transfers import Spread, plan_transfers, proportional, sequential
from tests.support.bulk import at, ggo, measured, percent, shown_parts, to

_SECTORS = st.sampled_from(["DK1", "DK2"])
_TECHNOLOGIES = st.sampled_from(["Hydro", "Solar", "Unknown", "Wind"])
_POINTS = st.sampled_from(["1", "2", "3"])
_HOURS = st.integers(0, 2)
_LENGTHS = st.sampled_from([0.25, 1])


@st.composite
def _ggos(draw):
    """Few begins, times and amounts, so that ties are frequent."""
    stock = []
    for number in range(draw(st.integers(0, 7))):
        hour = draw(_HOURS)
        stock.append(
            ggo(
                f"ggo {number}",
                draw(st.integers(1, 12)),
                hour,
                end=at(hour + draw(_LENGTHS)),
                sector=draw(_SECTORS),
                technology=draw(_TECHNOLOGIES),
                issue_time=at(draw(st.integers(24, 26))),
                expire_time=at(draw(st.integers(100, 102))),
            )
        )
    return draw(st.permutations(stock))


@st.composite
def _measurements(draw):
    """At most one of a point and a begin."""
    keys = draw(st.lists(st.tuples(_POINTS, _HOURS), unique=True, max_size=9))
    return [
        measured(
            point,
            draw(st.integers(0, 15)),
            hour,
            retired=draw(st.sampled_from([0, 0, 3, 9])),
            end=at(hour + draw(_LENGTHS)),
            sector=draw(_SECTORS),
        )
        for point, hour in keys
    ]


_PERCENTAGES = st.integers(1, 10**7).map(lambda share: f"{share // 10**5}.{share % 10**5:05}")


@st.composite
def _takes(draw):
    """Takes of several targets; a percentage as its text."""
    if draw(st.booleans()):
        return draw(st.lists(st.integers(1, 30), min_size=1, max_size=4))
    left = 10**7
    texts = []
    for share in draw(st.lists(st.integers(1, 5 * 10**6), min_size=1, max_size=4)):
        if share <= left:
            texts.append(f"{share // 10**5}.{share % 10**5:05}")
            left -= share
    return texts


def _seconds(time):
    return (time - at(0)).total_seconds()


def _oracle_rank(order):
    """Return the key of an order, with negated numbers where the greatest comes first."""
    leading = {
        GgoOrder.EXPIRY_FIRST: lambda ggo: _seconds(ggo.expire_time),
        GgoOrder.OLDEST_FIRST: lambda ggo: _seconds(ggo.begin),
        GgoOrder.NEWEST_FIRST: lambda ggo: -_seconds(ggo.begin),
        GgoOrder.LARGEST_FIRST: lambda ggo: -ggo.amount,
    }[order]
    return lambda ggo: (
        *(leading(ggo), _seconds(ggo.begin), ggo.sector, _seconds(ggo.issue_time), ggo.address),
    )


def _percentage(text, amount):
    return int(Fraction(text) * amount / 100)


def _oracle_transfer(ggos, takes, order, spread):
    """Return (Wh by GGO and number of target, Wh requested); GGOs in the order of their use."""
    ordered = sorted(ggos, key=_oracle_rank(order))
    given_to = Counter()
    if isinstance(takes[0], str):
        for each in ordered:
            for number, text in enumerate(takes):
                given_to[each.address, number] = _percentage(text, each.amount)
        return +given_to, sum(given_to.values())
    left = {each.address: each.amount for each in ordered}
    for number, amount in enumerate(takes):
        before = dict(left)
        amount_left = min(amount, sum(before.values()))
        exact = {
            address: Fraction(amount_left * rest, sum(before.values()) or 1)
            for address, rest in before.items()
        }
        if spread is Spread.PROPORTIONAL:
            for address in before:
                given_to[address, number] += int(exact[address])
                left[address] -= int(exact[address])
                amount_left -= int(exact[address])
        for _ in range(amount_left):
            open_ggos = [address for address in left if left[address]]
            if spread is Spread.SEQUENTIAL:
                address = open_ggos[0]
            else:  # `max` returns the first of equals.
                address = max(open_ggos, key=lambda each: exact[each] - given_to[each, number])
            given_to[address, number] += 1
            left[address] -= 1
    return +given_to, sum(takes)


def _oracle_retirement(ggos, measurements, order, take):
    """Return (Wh by GGO and measurement, Wh requested), retiring 1 Wh at a time."""

    def listed(names, name):
        return names.index(name) if name in names else len(names)

    ordered = sorted(
        ggos,
        key=lambda each: (
            listed(order.technologies, each.technology),
            *_oracle_rank(order.ggos)(each),
        ),
    )
    left = {each.address: each.amount for each in ordered}
    units = []
    for each in sorted(
        measurements, key=lambda each: (each.begin, listed(order.points, each.gsrn), each.gsrn)
    ):
        unmet = max(each.amount - each.retired, 0)
        units += [each] * (_percentage(take, unmet) if isinstance(take, str) else unmet)
    requested = take if isinstance(take, int) else len(units)
    retired_to = Counter()
    for unit in units:
        fitting = [
            each.address
            for each in ordered
            if left[each.address]
            and (each.begin, each.end, each.sector) == (unit.begin, unit.end, unit.sector)
        ]
        if fitting and retired_to.total() < requested:
            retired_to[fitting[0], unit.address] += 1
            left[fitting[0]] -= 1
    return retired_to, requested


def _outcome(plan):
    """Call the planner, and return its plan or its error."""
    try:
        return plan()
    except (NothingSelected, Insufficient) as error:
        return error


def _check_totals(plan, ggos, moved, requested):
    """Check what holds for every plan, and that it moves what the oracle moves."""
    planned = sum(moved.values())
    assert [item.source.address for item in plan.items] == list(
        dict.fromkeys(address for address, _ in moved)
    )
    for item in plan.items:
        assert sum(part.amount for part in item.parts) == item.source.amount
        assert all(part.amount > 0 for part in item.parts)
        kinds = [part.kind.value for part in item.parts]
        assert kinds == sorted(kinds, key=["transfer", "remainder", "retire"].index)
        assert kinds.count("remainder") <= 1
        assert kinds != ["remainder"]
    totals = plan.totals
    assert totals.selected == sum(each.amount for each in ggos)
    assert (totals.requested, totals.planned) == (requested, planned)
    assert totals.short == requested - planned
    assert totals.ggos == len(plan.items)
    assert totals.splits == sum(len(item.parts) > 1 for item in plan.items)
    by_address = {each.address: each for each in ggos}
    for groups, name in [
        (plan.by_technology, "technology"),
        (plan.by_sector, "sector"),
        (plan.by_begin, "begin"),
    ]:
        sums = Counter()
        for (address, _), amount in moved.items():
            sums[getattr(by_address[address], name)] += amount
        assert list(groups.items()) == sorted(sums.items())


def _check_outcome(outcome, ggos, moved, requested, *, refuse):
    """Return the plan if there must be one, else check the error."""
    planned = sum(moved.values())
    if not planned:
        assert isinstance(outcome, NothingSelected)
        return None
    if refuse and planned < requested:
        assert isinstance(outcome, Insufficient)
        assert (outcome.available, outcome.requested) == (planned, requested)
        return None
    assert not isinstance(outcome, Exception), outcome
    _check_totals(outcome, ggos, moved, requested)
    return outcome


@given(
    _ggos(),
    _takes(),
    st.sampled_from(GgoOrder),
    st.sampled_from(Spread),
    st.sampled_from(Shortfall),
    st.randoms(use_true_random=False),
)
def test_transfers(ggos, takes, order, spread, shortfall, random):
    targets = [
        to(f"account {number}", percent(take) if isinstance(take, str) else take)
        for number, take in enumerate(takes)
    ]
    outcome = _outcome(lambda: plan_transfers(ggos, targets, order, spread, shortfall))
    rank = _oracle_rank(order)
    places = {each.address: place for place, each in enumerate(sorted(ggos, key=rank))}
    moved, requested = _oracle_transfer(ggos, takes, order, spread)
    moved = dict(sorted(moved.items(), key=lambda each: (places[each[0][0]], each[0][1])))
    plan = _check_outcome(outcome, ggos, moved, requested, refuse=shortfall is Shortfall.REFUSE)
    if plan is None:
        return
    assert moved == {
        (item.source.address, int(part.account.removeprefix("account "))): part.amount
        for item in plan.items
        for part in item.parts
        if part.account is not None
    }
    for item in plan.items:
        accounts = [part.account for part in item.parts if part.account is not None]
        assert accounts == sorted(accounts)
    if spread is Spread.SEQUENTIAL and isinstance(takes[0], int):
        assert plan.totals.splits <= len(targets)
    random.shuffle(ggos)
    assert plan_transfers(ggos, targets, order, spread, shortfall) == plan


@given(
    _ggos(),
    _measurements(),
    st.builds(
        RetirementOrder,
        st.lists(_POINTS, unique=True),
        st.lists(_TECHNOLOGIES, unique=True),
        st.sampled_from(GgoOrder),
    ),
    st.one_of(st.none(), st.integers(1, 40), _PERCENTAGES),
    st.sampled_from(Shortfall),
    st.randoms(use_true_random=False),
)
def test_retirements(ggos, measurements, order, take, shortfall, random):
    as_take = All() if take is None else Amount(take) if isinstance(take, int) else percent(take)
    outcome = _outcome(lambda: plan_retirements(ggos, measurements, order, as_take, shortfall))
    moved, requested = _oracle_retirement(ggos, measurements, order, take)
    refuse = shortfall is Shortfall.REFUSE and take is not None
    plan = _check_outcome(outcome, ggos, moved, requested, refuse=refuse)
    if plan is None:
        return
    for item in plan.items:
        retires = [part for part in shown_parts(item) if part[0] == "retire"]
        expected = [
            ("retire", amount, address.partition(" ")[0])
            for (source, address), amount in moved.items()
            if source == item.source.address
        ]
        assert retires == expected
    retired = Counter()
    for item in plan.items:
        for part in item.parts:
            retired[part.measurement_address] += part.amount
    assert all(retired[each.address] <= max(each.amount - each.retired, 0) for each in measurements)
    random.shuffle(ggos)
    random.shuffle(measurements)
    assert plan_retirements(ggos, measurements, order, as_take, shortfall) == plan


_LARGE = st.integers(1, 2**63 - 1)


@given(st.lists(_LARGE, min_size=1, max_size=20), st.data())
def test_proportional_shares_are_the_exact_ones_rounded_down_or_up(left, data):
    wanted = data.draw(st.integers(0, sum(left)))
    shares = proportional(wanted, left)
    assert sum(shares) == wanted
    for share, rest in zip(shares, left, strict=True):
        assert abs(share - Fraction(wanted * rest, sum(left))) < 1
        assert 0 <= share <= rest


@given(st.lists(_LARGE, min_size=1, max_size=20), st.data())
def test_sequential_shares_are_whole_but_for_the_last(left, data):
    wanted = data.draw(st.integers(0, sum(left)))
    shares = sequential(wanted, left)
    assert sum(shares) == wanted
    taken = [share for share in shares if share]
    assert shares[: len(taken)] == taken
    assert taken[:-1] == left[: len(taken)][:-1]


@given(st.integers(1, 10**7), _LARGE)
def test_percentages_are_exact_and_rounded_down(share, amount):
    wh = Percentage(share).of(amount)
    exact = Fraction(amount) * Fraction(share, 10**7)
    assert wh <= exact < wh + 1
