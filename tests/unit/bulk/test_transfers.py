"""Bulk transfers, planned by hand."""

from decimal import Decimal

import pytest

from origin.bulk.rules import transfers
from origin.bulk.rules.limits import MAX_SOURCES, TooMany
from origin.bulk.rules.plan import Insufficient, NothingSelected, Totals
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import All, Amount, Percentage, Shortfall
from origin.bulk.rules.transfers import (
    PercentagesAbove100,
    SameAccount,
    Spread,
    TakesMixed,
    check_accounts,
    check_takes,
    plan_transfers,
    proportional,
)
from origin.compose.rules import AccountUnavailable, Recipient
from tests.support.bulk import ggo, percent, shown, to


def _plan(
    candidates,
    *targets,
    order=GgoOrder.OLDEST_FIRST,
    spread=Spread.SEQUENTIAL,
    shortfall=Shortfall.REFUSE,
):
    return plan_transfers(candidates, targets, order, spread, shortfall)


_STOCK = [ggo("a", 100, hour=0), ggo("b", 50, hour=1), ggo("c", 30, hour=2)]


def test_sequential_takes_whole_ggos_and_splits_the_last():
    assert shown(_plan(_STOCK, to("you", 120))) == {
        "a": [("transfer", 100, "you")],
        "b": [("transfer", 20, "you"), ("remainder", 30, None)],
    }


def test_sequential_splits_nothing_where_whole_ggos_suffice():
    plan = _plan(_STOCK, to("you", 150))
    assert shown(plan) == {"a": [("transfer", 100, "you")], "b": [("transfer", 50, "you")]}
    assert plan.totals.splits == 0


def test_sequential_does_not_skip_a_ggo_for_one_that_fits_better():
    assert list(shown(_plan(_STOCK, to("you", 30)))) == ["a"]


def test_the_next_target_goes_on_where_the_one_before_stopped():
    plan = _plan(_STOCK, to("you", 70), to("they", 60), to("she", 10))
    assert shown(plan) == {
        "a": [("transfer", 70, "you"), ("transfer", 30, "they")],
        "b": [
            ("transfer", 30, "they"),
            ("transfer", 10, "she"),
            ("remainder", 10, None),
        ],
    }
    assert plan.totals == Totals(
        selected=180, requested=140, planned=140, short=0, ggos=2, splits=2
    )


def test_one_account_may_be_several_targets_with_references_of_their_own():
    plan = _plan([ggo("a", 10)], to("you", 4, "PPA 7"), to("you", 6, "PPA 8"))
    assert [(part.amount, part.reference) for part in plan.items[0].parts] == [
        (4, "PPA 7"),
        (6, "PPA 8"),
    ]


def test_proportional_takes_the_same_share_of_each_ggo():
    plan = _plan(_STOCK, to("you", 90), spread=Spread.PROPORTIONAL)
    assert shown(plan) == {
        "a": [("transfer", 50, "you"), ("remainder", 50, None)],
        "b": [("transfer", 25, "you"), ("remainder", 25, None)],
        "c": [("transfer", 15, "you"), ("remainder", 15, None)],
    }


def test_proportional_rounds_up_the_largest_remainders():
    # The exact shares of 10 Wh: 5.55…, 2.77…, 1.66….
    plan = _plan(_STOCK, to("you", 10), spread=Spread.PROPORTIONAL)
    assert [item.moved for item in plan.items] == [5, 3, 2]


@pytest.mark.parametrize(
    ("order", "addresses"),
    [(GgoOrder.OLDEST_FIRST, ["a", "b"]), (GgoOrder.NEWEST_FIRST, ["c", "b"])],
)
def test_proportional_breaks_ties_by_the_order(order, addresses):
    stock = [ggo(address, 5, hour) for hour, address in enumerate("abc")]
    plan = _plan(stock, to("you", 2), order=order, spread=Spread.PROPORTIONAL)
    assert shown(plan) == {
        address: [("transfer", 1, "you"), ("remainder", 4, None)] for address in addresses
    }


def test_proportional_targets_take_of_what_those_before_left():
    stock = [ggo("a", 3, hour=0), ggo("b", 1, hour=1)]
    # The first target's exact shares are 1.5 and 0.5 Wh: the tie goes to a. That leaves 1 Wh of each.
    plan = _plan(stock, to("you", 2), to("they", 2), spread=Spread.PROPORTIONAL)
    assert shown(plan) == {
        "a": [("transfer", 2, "you"), ("transfer", 1, "they")],
        "b": [("transfer", 1, "they")],
    }


def test_a_percentage_is_of_each_ggo_and_rounded_down():
    plan = _plan([ggo("a", 101, 0), ggo("b", 50, 1), ggo("c", 7, 2)], to("you", percent("12.5")))
    assert shown(plan) == {
        "a": [("transfer", 12, "you"), ("remainder", 89, None)],
        "b": [("transfer", 6, "you"), ("remainder", 44, None)],
    }
    assert plan.totals == Totals(selected=158, requested=18, planned=18, short=0, ggos=2, splits=2)


def test_percentages_are_of_the_whole_ggo_for_every_target():
    plan = _plan([ggo("a", 101)], to("you", percent("50")), to("they", percent("50")))
    assert shown(plan) == {
        "a": [("transfer", 50, "you"), ("transfer", 50, "they"), ("remainder", 1, None)]
    }


@pytest.mark.parametrize(
    ("text", "amount", "expected"),
    [
        ("100", 2**62, 2**62),
        ("0.00001", 10**7, 1),
        ("0.00001", 10**7 - 1, None),
        ("33.33333", 3 * 10**18, 999_999_900_000_000_000),
        ("99.99999", 10**7, 9_999_999),
        ("0.1", 3 * 10**15 + 999, 3 * 10**12),
    ],
)
def test_percentages_are_exact(text, amount, expected):
    if expected is None:
        with pytest.raises(NothingSelected):
            _plan([ggo("a", amount)], to("you", percent(text)))
    else:
        assert _plan([ggo("a", amount)], to("you", percent(text))).totals.planned == expected


@pytest.mark.parametrize(
    ("text", "share"), [("0.00001", 1), ("12.5", 1_250_000), ("100", 10**7), ("1E+2", 10**7)]
)
def test_a_percentage_from_its_decimal(text, share):
    assert Percentage.from_percent(Decimal(text)) == Percentage(share)


@pytest.mark.parametrize("text", ["0", "-1", "100.00001", "0.000001", "1.000001"])
def test_no_percentage(text):
    with pytest.raises(ValueError, match=text):
        Percentage.from_percent(Decimal(text))


@pytest.mark.parametrize("spread", Spread)
def test_the_spread_means_nothing_to_percentages_and_all(spread):
    assert shown(_plan(_STOCK, to("you", percent("50")), spread=spread)) == {
        "a": [("transfer", 50, "you"), ("remainder", 50, None)],
        "b": [("transfer", 25, "you"), ("remainder", 25, None)],
        "c": [("transfer", 15, "you"), ("remainder", 15, None)],
    }
    plan = _plan(_STOCK, to("you", All()), spread=spread)
    assert shown(plan) == {
        "a": [("transfer", 100, "you")],
        "b": [("transfer", 50, "you")],
        "c": [("transfer", 30, "you")],
    }
    assert plan.totals == Totals(
        selected=180, requested=180, planned=180, short=0, ggos=3, splits=0
    )


@pytest.mark.parametrize("spread", Spread)
def test_more_than_there_is_is_refused(spread):
    with pytest.raises(Insufficient) as caught:
        _plan(_STOCK, to("you", 100), to("they", 81), spread=spread)
    assert (caught.value.available, caught.value.requested) == (180, 181)
    assert caught.value.code == "insufficient"


@pytest.mark.parametrize("spread", Spread)
def test_a_partial_order_gets_what_there_is_in_the_order_of_targets(spread):
    targets = [to("you", 170), to("they", 81), to("she", 1)]
    plan = _plan(_STOCK, *targets, spread=spread, shortfall=Shortfall.PARTIAL)
    got = {"you": 0, "they": 0}
    for item in plan.items:
        for part in item.parts:
            got[part.account] += part.amount
    assert got == {"you": 170, "they": 10}
    assert (plan.totals.requested, plan.totals.planned, plan.totals.short) == (252, 180, 72)


@pytest.mark.parametrize("shortfall", Shortfall)
@pytest.mark.parametrize("take", [Amount(1), Percentage(1), All()])
def test_nothing_selected(take, shortfall):
    with pytest.raises(NothingSelected):
        _plan([], to("you", take), shortfall=shortfall)


def test_sums_by_technology_sector_and_begin_are_of_what_is_planned():
    stock = [
        ggo("a", 10, hour=1, technology="Wind", sector="DK2"),
        ggo("b", 10, hour=0, technology="Solar", sector="DK1"),
        ggo("c", 10, hour=1, technology="Unknown", sector="DK1"),
        ggo("d", 10, hour=5),
    ]
    plan = _plan(stock, to("you", 25))
    assert list(plan.by_technology.items()) == [("Solar", 10), ("Unknown", 10), ("Wind", 5)]
    assert list(plan.by_sector.items()) == [("DK1", 20), ("DK2", 5)]
    assert list(plan.by_begin.items()) == [(stock[1].begin, 10), (stock[0].begin, 15)]


def test_the_sample_is_the_first_100_items():
    plan = _plan([ggo(f"{n:03}", 1, hour=n) for n in range(120)], to("you", All()))
    assert [item.source.address for item in plan.sample] == [f"{n:03}" for n in range(100)]


def test_only_what_is_spent_counts_as_a_source():
    stock = [ggo(f"{n:05}", 1, hour=n) for n in range(10_001)]
    assert _plan(stock, to("you", 10_000)).totals.ggos == 10_000
    with pytest.raises(TooMany) as caught:
        _plan(stock, to("you", 10_001))
    assert caught.value.count == 10_001


def test_planning_ends_once_the_plan_is_too_large(monkeypatch):
    """It could take seconds: each further target would be spread over all GGOs."""
    spread: list[int] = []

    def noting(wanted, left):
        spread.append(wanted)
        return proportional(wanted, left)

    monkeypatch.setattr(transfers, "proportional", noting)
    stock = [ggo(f"{n:05}", 100, hour=n) for n in range(MAX_SOURCES + 1)]
    targets = [to(f"account {n}", MAX_SOURCES + 1) for n in range(50)]
    with pytest.raises(TooMany) as caught:
        _plan(stock, *targets, spread=Spread.PROPORTIONAL)
    assert (caught.value.what, caught.value.count) == ("source GGOs", MAX_SOURCES + 1)
    assert len(spread) == 2


def test_too_many_is_told_before_a_shortfall():
    stock = [ggo(f"{n:05}", 1, hour=n) for n in range(10_001)]
    with pytest.raises(TooMany):
        _plan(stock, to("you", 10**6))


@pytest.mark.parametrize(("ggos", "count"), [(198, None), (199, 20_099)])
def test_at_most_20_000_parts_with_the_remainders(ggos, count):
    stock = [ggo(f"{n:05}", 1_000, hour=n) for n in range(ggos)]
    targets = [to(f"account {n}", percent("0.5")) for n in range(100)]
    if count is None:
        assert sum(len(item.parts) for item in _plan(stock, *targets).items) == 198 * 101
    else:
        with pytest.raises(TooMany) as caught:
            _plan(stock, *targets)
        assert (caught.value.what, caught.value.count) == ("parts", count)


@pytest.mark.parametrize(
    "takes",
    [
        [Amount(1), Percentage(1)],
        [Amount(1), All()],
        [Percentage(1), All()],
        [All(), All()],
    ],
)
def test_several_targets_take_amounts_alone_or_percentages_alone(takes):
    with pytest.raises(TakesMixed):
        check_takes([to("you", take) for take in takes])


def test_percentages_are_at_most_100_together():
    check_takes([to("you", percent("99.99999")), to("they", percent("0.00001"))])
    check_takes([to("you", All())])
    check_takes([to("you", 1), to("they", 2**62)])
    with pytest.raises(PercentagesAbove100):
        check_takes([to("you", percent("99.99999")), to("they", percent("0.00002"))])


_RECIPIENTS = {
    "you": Recipient(1, disabled=False),
    "me": Recipient(2, disabled=False),
    "left": Recipient(3, disabled=True),
}


def test_the_sender_is_no_target():
    with pytest.raises(SameAccount) as caught:
        check_accounts([to("me", 1), to("nobody", 1), to("me", 1)], "me", _RECIPIENTS)
    assert list(caught.value.positions) == [0, 2]


@pytest.mark.parametrize("account", ["nobody", "left"])
def test_unknown_and_disabled_accounts_get_one_answer(account):
    with pytest.raises(AccountUnavailable) as caught:
        check_accounts([to("you", 1), to(account, 1), to("no", 1)], "me", _RECIPIENTS)
    assert vars(caught.value) == {"subject": account, "positions": [1, 2]}


def test_known_accounts_are_targets():
    check_accounts([to("you", 1), to("you", 1)], "me", _RECIPIENTS)
