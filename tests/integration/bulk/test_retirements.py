"""Bulk retirements through the API, until the ledger has committed them."""

from datetime import timedelta

from tests.support.bulk_orders import (
    DAY,
    operation,
    order,
    plan_of,
    rejected,
    retirement,
    sent,
    shown_items,
    shown_parts,
)
from tests.support.market import (
    BOBS_CONSUMPTION,
    CONSUMPTION,
    OTHER_CONSUMPTION,
    PRODUCTION,
    Market,
)

ALICE = "alice"


def test_each_hour_is_matched_and_the_rest_stays(market: Market):
    """Two points and three hours; the GGO of a fourth hour has no measurement."""
    for hour, amount in enumerate([100, 100, 100, 100]):
        market.issue(amount, market.hour(hour))
    market.consume(CONSUMPTION, 30, market.hour(0))
    market.consume(OTHER_CONSUMPTION, 50, market.hour(0))
    market.consume(CONSUMPTION, 100, market.hour(1))
    market.consume(CONSUMPTION, 150, market.hour(2))
    body = retirement(None, CONSUMPTION, OTHER_CONSUMPTION)
    plan = plan_of(market, body)
    assert plan["totals"] == {
        "selected": 400,
        "requested": 330,
        "planned": 280,
        "short": 50,
        "ggos": 3,
        "splits": 1,
    }
    made = order(market, {**body, "expect": {"planDigest": plan["planDigest"]}})
    # OTHER_CONSUMPTION's number is the lower one.
    expected = [
        [
            ("remainder", 20, None, None),
            ("retire", 50, OTHER_CONSUMPTION, None),
            ("retire", 30, CONSUMPTION, None),
        ],
        [("retire", 100, CONSUMPTION, None)],
        [("retire", 100, CONSUMPTION, None)],
    ]
    assert shown_items(market, made["id"]) == expected
    assert [shown_parts(item) for item in plan["sample"]] == expected
    market.settle()
    assert operation(market, made["id"])["status"] == "completed"
    assert market.total(ALICE, category="retired") == 280
    assert sorted(market.amounts(ALICE, category="stored")) == [20, 100]
    assert market.total(ALICE, retireGsrn=[OTHER_CONSUMPTION]) == 50
    rejected(market, body, 422, "nothing_selected")


def test_what_composes_have_retired_counts(market: Market):
    market.consume(CONSUMPTION, 100)
    assert market.compose(market.issue(100), retires=[(70, CONSUMPTION)]).status_code == 200
    market.settle()
    made = order(market, retirement(None))
    assert made["totals"]["planned"] == 30
    market.settle()
    assert market.total(ALICE, category="retired") == 100


def test_takes_and_orders(market: Market):
    """What dry runs show: Wh by point."""
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    market.consume(OTHER_CONSUMPTION, 80)
    both = [CONSUMPTION, OTHER_CONSUMPTION]

    def planned(body):
        parts = [part for item in plan_of(market, body)["sample"] for part in shown_parts(item)]
        return {gsrn: amount for kind, amount, gsrn, _ in parts if kind == "retire"}

    assert planned(retirement(None, *both)) == {OTHER_CONSUMPTION: 80, CONSUMPTION: 20}
    first = {"order": {"points": [CONSUMPTION]}}
    assert planned(retirement(None, *both, **first)) == {CONSUMPTION: 60, OTHER_CONSUMPTION: 40}
    everywhere = {**retirement(None), "against": {"period": DAY}}
    assert planned(everywhere) == {OTHER_CONSUMPTION: 80, CONSUMPTION: 20}
    assert planned(retirement("50", *both)) == {OTHER_CONSUMPTION: 40, CONSUMPTION: 30}
    assert planned(retirement(90, *both)) == {OTHER_CONSUMPTION: 80, CONSUMPTION: 10}
    assert planned(retirement(60, CONSUMPTION)) == {CONSUMPTION: 60}
    problem = rejected(market, retirement(61, CONSUMPTION), 422, "insufficient")
    assert (problem["available"], problem["requested"]) == (60, 61)
    assert planned(retirement(61, CONSUMPTION, shortfall="partial")) == {CONSUMPTION: 60}


def test_only_own_consumption_points_can_be_named(market: Market):
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    for gsrn in (PRODUCTION, BOBS_CONSUMPTION, "571313180400000000"):
        rejected(market, retirement(1, CONSUMPTION, gsrn), 422, "metering_point_unavailable")
        named = {"order": {"points": [gsrn]}}
        rejected(market, retirement(1, **named), 422, "metering_point_unavailable")


def test_measurements_of_another_period_sector_or_hour_do_not_match(market: Market):
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    outside = {"from": "2020-01-01T13:00:00Z", "to": "2020-01-02T00:00:00Z"}
    body = {**retirement(None), "against": {"period": outside}}
    rejected(market, body, 422, "nothing_selected")
    market.rows("UPDATE ggos SET sector = 'DK2'")
    rejected(market, retirement(None), 422, "nothing_selected")
    market.rows("""UPDATE ggos SET sector = 'DK1', "end" = "end" - interval '1 minute'""")
    rejected(market, retirement(None), 422, "nothing_selected")


def test_an_hourly_point_is_read_by_sums_and_another_page_by_page(market: Market):
    """The ledger takes what was read by sums: the addresses that we derive are DataHub's."""
    hours = [
        {"gsrn": CONSUMPTION, "begin": market.hour(hour).isoformat(), "amount": 700}
        for hour in range(120)
    ]
    market.datahub.control("measurements", {"measurements": hours})
    quarters = {"gsrn": OTHER_CONSUMPTION, "begin": market.begin.isoformat(), "seconds": 900}
    market.datahub.control("series", {**quarters, "amounts": [300] * 1500})
    market.issue(1000, market.hour(110))
    period = {"from": "2020-01-01", "to": "2020-02-01"}
    body = {**retirement(None, CONSUMPTION), "against": {"period": period}}
    before = market.datahub.call_count("/measurements")
    plan = plan_of(market, body)
    assert plan["totals"]["requested"] == 120 * 700 + 1500 * 300
    # Two counts, and two pages of the odd point.
    assert market.datahub.call_count("/measurements") == before + 4
    made = order(market, body)
    market.settle()
    assert operation(market, made["id"])["status"] == "completed"
    assert market.total(ALICE, retireGsrn=[CONSUMPTION]) == 700

    quarter = market.begin + timedelta(minutes=15)
    short = market.issue(1000, quarter)
    to_its_end = """UPDATE ggos SET "end" = begin + interval '15 minutes' WHERE address = :a"""
    market.rows(to_its_end, a=short)
    assert plan_of(market, body)["totals"]["planned"] == 300


def test_a_dry_run_reads_few_pages_and_an_order_leaves_them_to_a_worker(market: Market):
    market.issue(1000)
    quarters = {"gsrn": CONSUMPTION, "begin": market.begin.isoformat(), "seconds": 900}
    market.datahub.control("series", {**quarters, "amounts": [300] * 2001})
    period = {"from": "2020-01-01", "to": "2020-02-01"}
    body = {**retirement(None, CONSUMPTION), "against": {"gsrn": [CONSUMPTION], "period": period}}
    problem = rejected(market, {**body, "dryRun": True}, 422, "too_many")
    assert problem["count"] == 2001
    made = order(market, body)
    assert made["status"] == "queued"
    market.rows("""UPDATE ggos SET "end" = begin + interval '15 minutes'""")
    assert market.runtime.bulk_queue.run_due() == 1
    assert operation(market, made["id"])["totals"]["planned"] == 300


def test_measurements_at_other_addresses_are_left_alone(market: Market):
    """As long as DataHub has another key of ours, nothing can be retired to its measurements."""
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    market.rows("UPDATE metering_points SET key_index = key_index + 100 WHERE type = 'consumption'")
    rejected(market, retirement(None), 422, "nothing_selected")
    hours = [
        {"gsrn": CONSUMPTION, "begin": market.hour(hour).isoformat(), "amount": 700}
        for hour in range(1, 120)
    ]
    market.datahub.control("measurements", {"measurements": hours})
    period = {"from": "2020-01-01", "to": "2020-02-01"}
    body = {**retirement(None), "against": {"gsrn": [CONSUMPTION], "period": period}}
    rejected(market, body, 422, "nothing_selected")


def test_datahub_away(market: Market):
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    market.datahub.fault(endpoint="/measurements", status=500, times=None)
    key = {"Idempotency-Key": "order 3"}
    rejected(market, retirement(None), 503, "peer_unavailable", **key)
    market.datahub.clear_faults()
    assert sent(market, retirement(None), **key).status_code == 202


def test_spent_tokens(market: Market):
    market.issue(100)
    market.consume(CONSUMPTION, 60)
    market.rows("UPDATE users SET access_token = NULL")
    rejected(market, retirement(None), 403, "login_required")
