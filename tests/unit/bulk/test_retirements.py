"""Bulk retirements, planned by hand."""

import pytest

from origin.bulk.rules.limits import TooMany
from origin.bulk.rules.plan import Insufficient, NothingSelected, Totals
from origin.bulk.rules.retirements import RetirementOrder, check_points, plan_retirements
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import All, Amount, Shortfall
from origin.errors import MeteringPointUnavailable
from tests.support.bulk import at, ggo, measured, percent, shown


def _plan(candidates, measurements, take=None, *, shortfall=Shortfall.REFUSE, **order):
    return plan_retirements(
        candidates, measurements, RetirementOrder(**order), take or All(), shortfall
    )


def test_a_ggo_that_one_retire_takes_whole_is_one_part():
    plan = _plan([ggo("a", 10)], [measured("p", 10)])
    assert shown(plan) == {"a": [("retire", 10, "p")]}
    assert plan.items[0].parts[0].measurement_address == "p at 0"
    assert plan.totals == Totals(selected=10, requested=10, planned=10, short=0, ggos=1, splits=0)


def test_what_is_left_of_a_ggo_is_a_remainder_before_its_retires():
    plan = _plan([ggo("a", 10)], [measured("p2", 3), measured("p1", 4)])
    assert shown(plan) == {"a": [("remainder", 3, None), ("retire", 4, "p1"), ("retire", 3, "p2")]}
    assert plan.totals.splits == 1


def test_a_measurement_takes_several_ggos():
    plan = _plan([ggo("a", 4), ggo("b", 5)], [measured("p", 6)])
    assert shown(plan) == {
        "a": [("retire", 4, "p")],
        "b": [("remainder", 3, None), ("retire", 2, "p")],
    }


@pytest.mark.parametrize(
    "other",
    [
        {"sector": "DK2"},
        {"end": at(0.25)},
        {"begin": at(0.25)},
        {"begin": at(1), "end": at(2)},
    ],
)
def test_only_the_same_period_and_sector_match(other):
    with pytest.raises(NothingSelected):
        _plan([ggo("a", 10, **other)], [measured("p", 10)])


def test_quarters_and_hours_stand_side_by_side():
    quarter = {"end": at(0.25)}
    plan = _plan(
        [ggo("hour", 10), ggo("quarter", 10, **quarter)],
        [measured("p", 10, **quarter), measured("q", 10)],
    )
    assert shown(plan) == {"quarter": [("retire", 10, "p")], "hour": [("retire", 10, "q")]}


def test_only_the_unmet_rest_is_retired():
    plan = _plan(
        [ggo("a", 10), ggo("b", 10, hour=1), ggo("c", 10, hour=2)],
        [
            measured("p", 10, hour=0, retired=7),
            measured("p", 10, hour=1, retired=10),
            measured("p", 10, hour=2, retired=12),
        ],
    )
    assert shown(plan) == {"a": [("remainder", 7, None), ("retire", 3, "p")]}
    assert plan.totals == Totals(selected=30, requested=3, planned=3, short=0, ggos=1, splits=1)


def test_points_go_as_listed_then_by_gsrn():
    measurements = [measured(gsrn, 1) for gsrn in ["3", "1", "4", "2"]]
    plan = _plan([ggo("a", 4)], measurements, points=["4", "9", "2", "4"])
    assert [gsrn for _, _, gsrn in shown(plan)["a"]] == ["4", "2", "1", "3"]


def test_the_begin_goes_before_the_point():
    ggos = [ggo("a", 10, hour=1), ggo("b", 10, hour=0)]
    measurements = [measured("2", 6, hour=1), measured("1", 6, hour=0), measured("2", 6, hour=0)]
    plan = _plan(ggos, measurements, Amount(13), points=["2", "1"], ggos=GgoOrder.NEWEST_FIRST)
    assert shown(plan) == {
        "b": [("retire", 6, "2"), ("retire", 4, "1")],
        "a": [("remainder", 7, None), ("retire", 3, "2")],
    }


def test_a_total_amount_is_used_up_across_sectors_by_point():
    ggos = [ggo("a", 10, sector="DK1"), ggo("b", 10, sector="DK2")]
    measurements = [
        measured("1", 5, sector="DK2"),
        measured("2", 5, sector="DK1"),
        measured("3", 5, sector="DK2"),
    ]
    plan = _plan(ggos, measurements, Amount(11))
    assert shown(plan) == {
        "b": [("remainder", 4, None), ("retire", 5, "1"), ("retire", 1, "3")],
        "a": [("remainder", 5, None), ("retire", 5, "2")],
    }
    assert [item.source.address for item in plan.items] == ["b", "a"]


def test_technologies_go_by_rank_then_unlisted_ones_by_the_order_of_ggos():
    ggos = [
        ggo("hydro", 1, technology="Hydro", expire_time=at(10)),
        ggo("wind", 1, technology="Wind", expire_time=at(20)),
        ggo("late solar", 1, technology="Solar", expire_time=at(40)),
        ggo("early solar", 1, technology="Solar", expire_time=at(30)),
        ggo("unknown", 1, technology="Unknown", expire_time=at(5)),
    ]
    plan = _plan(ggos, [measured("p", 9)], technologies=["Solar", "Wind", "Solar", "Coal"])
    assert list(shown(plan)) == ["early solar", "late solar", "wind", "unknown", "hydro"]


def test_ggos_of_a_rank_go_by_the_order_asked_for():
    ggos = [ggo("a", 1), ggo("b", 3), ggo("c", 2)]
    plan = _plan(ggos, [measured("p", 5)], ggos=GgoOrder.LARGEST_FIRST)
    assert shown(plan) == {"b": [("retire", 3, "p")], "c": [("retire", 2, "p")]}


@pytest.mark.parametrize("shortfall", Shortfall)
def test_with_all_a_shortfall_means_nothing(shortfall):
    ggos = [ggo("a", 10), ggo("b", 10, hour=7)]
    plan = _plan(ggos, [measured("p", 30), measured("p", 5, hour=1)], shortfall=shortfall)
    assert plan.totals == Totals(selected=20, requested=35, planned=10, short=25, ggos=1, splits=0)


def test_an_amount_that_nothing_matches_is_refused():
    ggos = [ggo("a", 10), ggo("b", 10, hour=1)]
    measurements = [measured("p", 6), measured("p", 20, hour=1)]
    assert _plan(ggos, measurements, Amount(16)).totals.planned == 16
    with pytest.raises(Insufficient) as caught:
        _plan(ggos, measurements, Amount(17))
    assert (caught.value.available, caught.value.requested) == (16, 17)
    plan = _plan(ggos, measurements, Amount(17), shortfall=Shortfall.PARTIAL)
    assert plan.totals == Totals(selected=20, requested=17, planned=16, short=1, ggos=2, splits=1)


def test_a_percentage_is_of_each_measurements_unmet_rest_and_rounded_down():
    ggos = [ggo("a", 100), ggo("b", 100, hour=1), ggo("c", 100, hour=2)]
    measurements = [
        measured("p", 30, retired=9),
        measured("p", 3, hour=1),
        measured("p", 50, hour=2, retired=60),
        measured("q", 8, hour=1),
    ]
    plan = _plan(ggos, measurements, percent("25"))
    assert shown(plan) == {
        "a": [("remainder", 95, None), ("retire", 5, "p")],
        "b": [("remainder", 98, None), ("retire", 2, "q")],
    }
    assert plan.totals == Totals(selected=300, requested=7, planned=7, short=0, ggos=2, splits=2)


def test_what_one_measurement_misses_of_its_percentage_no_other_gets():
    ggos = [ggo("a", 2), ggo("b", 100, hour=1)]
    measurements = [measured("p", 10), measured("p", 10, hour=1)]
    with pytest.raises(Insufficient) as caught:
        _plan(ggos, measurements, percent("50"))
    assert (caught.value.available, caught.value.requested) == (7, 10)
    plan = _plan(ggos, measurements, percent("50"), shortfall=Shortfall.PARTIAL)
    assert [item.moved for item in plan.items] == [2, 5]
    assert plan.totals.short == 3


@pytest.mark.parametrize("shortfall", Shortfall)
@pytest.mark.parametrize("take", [All(), Amount(5), percent("100")])
@pytest.mark.parametrize(
    ("ggos", "measurements"),
    [
        ([], []),
        ([ggo("a", 10)], []),
        ([], [measured("p", 10)]),
        ([ggo("a", 10)], [measured("p", 10, retired=10)]),
        ([ggo("a", 10)], [measured("p", 0)]),
    ],
)
def test_a_plan_of_nothing(take, ggos, measurements, shortfall):
    with pytest.raises(NothingSelected):
        _plan(ggos, measurements, take, shortfall=shortfall)


@pytest.mark.parametrize(("points", "left"), [(1_000, 0), (999, 1)])
def test_a_ggo_has_at_most_1_000_parts(points, left):
    measurements = [measured(f"{n:04}", 1) for n in range(points)]
    plan = _plan([ggo("a", points + left)], measurements)
    assert len(plan.items[0].parts) == 1_000
    with pytest.raises(TooMany) as caught:
        _plan([ggo("a", points + left + 1)], [*measurements, measured("9999", 1)])
    assert (caught.value.what, caught.value.count) == ("parts of one GGO", 1_001)


def test_at_most_20_000_parts_and_10_000_ggos():
    hours = range(200)
    ggos = [ggo(f"{hour:03}", 100, hour) for hour in hours]
    measurements = [measured(f"{n}", 1, hour) for hour in hours for n in range(100)]
    assert _plan(ggos, measurements).totals.planned == 20_000
    with pytest.raises(TooMany) as caught:
        _plan([*ggos, ggo("one more", 2, 200)], [*measurements, measured("p", 1, 200)])
    assert (caught.value.what, caught.value.count) == ("parts", 20_002)
    with pytest.raises(TooMany) as caught:
        _plan([ggo(f"{n:05}", 1) for n in range(10_002)], [measured("p", 10_001)], Amount(10**9))
    assert (caught.value.what, caught.value.count) == ("source GGOs", 10_001)


def test_points_that_are_not_the_callers_are_named():
    check_points(["1", "2"], {"1", "2", "3"})
    with pytest.raises(MeteringPointUnavailable) as caught:
        check_points(["5", "1", "4", "5"], {"1"})
    assert list(caught.value.gsrns) == ["4", "5"]
