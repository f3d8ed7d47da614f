"""Bulk transfers through the API, until the ledger has committed them."""

from tests.support.bulk_orders import (
    got,
    operation,
    order,
    plan_of,
    rejected,
    sent,
    shown_items,
    shown_parts,
    target,
    transfer,
)
from tests.support.market import PRODUCTION, Market

ALICE, BOB = "alice", "bob"


def issue(market: Market, *amounts: int, **fields: object) -> list[str]:
    """Issue a GGO of each amount to Alice, one each hour; return their addresses."""
    return [
        market.issue(amount, market.hour(hour), **fields) for hour, amount in enumerate(amounts)
    ]


def test_whole_ggos_are_transferred_and_at_most_one_is_split(market: Market):
    issue(market, 100, 100, 100, 100)
    made = order(market, transfer(250, reference="PPA 7"))
    assert (made["kind"], made["origin"], made["status"]) == ("transfer", "api", "pending")
    assert made["acceptedAt"] == made["createdAt"]
    assert made["totals"] == {
        "requested": 250,
        "planned": 250,
        "pending": 250,
        "completed": 0,
        "declined": 0,
        "ggos": 3,
    }
    assert market.total(ALICE, category="stored") == 150
    assert market.total(BOB, category="stored") == 250

    market.settle()
    made = operation(market, made["id"])
    assert (made["status"], made["totals"]["completed"]) == ("completed", 250)
    assert market.amounts(BOB) == [100, 100, 50]
    assert market.amounts(ALICE, category="stored") == [50, 100]
    assert shown_items(market, made["id"]) == [
        [("transfer", 100, "bob", "PPA 7")],
        [("transfer", 100, "bob", "PPA 7")],
        [("transfer", 50, "bob", "PPA 7"), ("remainder", 50, None, None)],
    ]


def test_a_dry_run_changes_nothing_and_tells_what_the_order_does(market: Market):
    issue(market, 100, 60, 100)
    body = transfer(target(120, reference="a"), target(30))
    before = market.snapshot()
    plan = plan_of(market, body)
    assert market.snapshot() == before
    assert plan["totals"] == {
        "selected": 260,
        "requested": 150,
        "planned": 150,
        "short": 0,
        "ggos": 2,
        "splits": 1,
    }
    assert plan["bySector"] == [{"name": "DK1", "amount": 150}]
    assert plan["byTechnology"] == [{"name": "Unknown", "amount": 150}]
    assert [each["amount"] for each in plan["byBegin"]] == [100, 50]
    assert plan["byBegin"][0]["name"] == "2020-01-01T12:00:00+00:00"

    made = order(market, {**body, "expect": {"planDigest": plan["planDigest"]}})
    planned = [shown_parts(item) for item in plan["sample"]]
    assert shown_items(market, made["id"]) == planned
    # The first target gets the first GGO and a part of the second, the next one goes on there.
    transfers = [("transfer", 20, "bob", "a"), ("transfer", 30, "bob", None)]
    assert planned[1] == [*transfers, ("remainder", 10, None, None)]


def test_another_plan_than_expected_is_not_carried_out(market: Market):
    issue(market, 100, 100)
    body = transfer(150)
    expect = {"planDigest": plan_of(market, body)["planDigest"]}
    market.issue(100, market.hour(5))
    soon = "UPDATE ggos SET expire_time = now() + interval '1 hour' WHERE begin = :begin"
    market.rows(soon, begin=market.hour(5))
    rejected(market, {**body, "expect": expect}, 409, "plan_changed")
    assert sent(market, {**body, "expect": expect, "dryRun": True}).status_code == 409
    order(market, {**body, "expect": {"planDigest": plan_of(market, body)["planDigest"]}})


_TAKES = [
    (transfer(6, spread="proportional"), [1, 2, 3]),
    (transfer("50"), [5, 10, 15]),
    (transfer(None), [10, 20, 30]),
    (transfer(35, order="largest_first"), [5, 30]),
    (transfer(35, order="newest_first"), [5, 30]),
    (transfer(35, order="oldest_first"), [5, 10, 20]),
    (transfer(999, shortfall="partial"), [10, 20, 30]),
    (transfer(target("33.33333"), target("66.66667")), [3, 6, 6, 9, 13, 20]),
    (transfer(target(10), target(None)), None),
]


def test_takes_orders_and_spreads(market: Market):
    """What a dry run shows: the Wh of each part that Bob gets."""
    issue(market, 10, 20, 30)
    for body, expected in _TAKES:
        if expected is None:
            rejected(market, body, 400, "takes_mixed")
            continue
        parts = [part for item in plan_of(market, body)["sample"] for part in shown_parts(item)]
        assert sorted(amount for _, amount, account, _ in parts if account == BOB) == expected
    rejected(market, transfer("0.1"), 422, "nothing_selected")
    order(market, _TAKES[7][0])
    market.settle()
    assert sorted(market.amounts(BOB)) == _TAKES[7][1]


_SELECTIONS = [
    ({"sector": ["DK2"]}, 2),
    ({"sector": ["DK1", "DK2"]}, 15),
    ({"technology": ["Wind"]}, 4),
    ({"technology": ["Unknown"]}, 11),
    ({"technology": ["Unknown", "Wind"], "sector": ["DK1"]}, 13),
    ({"technologyCode": ["T010000"]}, 4),
    ({"fuelCode": ["F01050100"]}, 11),
    ({"issueGsrn": [PRODUCTION]}, 15),
    ({"issueGsrn": ["5"]}, 0),
    ({"expiresBefore": "2049-01-01T00:00:00+02:00"}, 8),
    ({"expiresBefore": "2048-12-31T22:59:59+01:00"}, 0),
    ({"period": {"from": "2020-01-01", "to": "2020-01-02", "timeZone": "Asia/Tokyo"}}, 3),
    ({"period": {"from": "2020-01-01T13:00:00Z", "to": "2020-01-01T15:00:00Z"}}, 2),
    ({"period": {"from": "2020-01-02", "to": "2020-01-02"}}, 0),
    ({"sector": None, "technology": [], "period": None}, 15),
    ({"address": ['"}', "{", "\\", "a,b", "NULL", "", "é"]}, 0),
]


def test_what_is_selected(market: Market):
    """GGOs of 1, 2, 4, 8 Wh: the sum shows which are selected."""
    market.rows("INSERT INTO technologies VALUES ('T010000', 'F01040100', 'Wind')")
    one, two = issue(market, 1, 2)
    four = market.issue(4, market.hour(3), technologyCode="T010000", fuelCode="F01040100")
    eight = market.issue(8, market.hour(4))
    market.rows("UPDATE ggos SET sector = 'DK2' WHERE address = :a", a=two)
    market.rows("UPDATE ggos SET expire_time = '2050-01-01'")
    market.rows("UPDATE ggos SET expire_time = '2048-12-31T21:59:59Z' WHERE address = :a", a=eight)
    for select, expected in [*_SELECTIONS, ({"address": [one, four, "x"]}, 5)]:
        body = transfer(None, select=select)
        if expected == 0:
            rejected(market, body, 422, "nothing_selected")
        else:
            assert plan_of(market, body)["totals"]["planned"] == expected, select


def test_what_cannot_be_spent_is_not_selected(market: Market):
    """Locked, expired, mismatched, spent elsewhere, never sent."""
    sold, expired, mismatched, elsewhere, unsent, _ = issue(market, 1, 2, 4, 8, 16, 32)
    market.compose(sold, transfers=[(1, "bob")])
    for change, address in (
        ("expire_time = clock_timestamp()", expired),
        ("key_mismatch = true", mismatched),
        ("spent_elsewhere = true, locked = true, stored = false", elsewhere),
        ("never_sent = true", unsent),
    ):
        market.rows(f"UPDATE ggos SET {change} WHERE address = :a", a=address)  # noqa: S608
    assert plan_of(market, transfer(None))["totals"]["planned"] == 32


def test_too_little_is_refused_with_what_there_is(market: Market):
    issue(market, 100)
    problem = rejected(market, transfer(150), 422, "insufficient")
    assert (problem["available"], problem["requested"]) == (100, 150)
    rejected(market, transfer(target(5, ALICE)), 422, "nothing_selected", BOB)


def test_a_received_ggo_and_a_remainder_can_be_transferred_again(market: Market):
    issue(market, 100)
    order(market, transfer(30))
    market.settle()
    order(market, transfer(None))
    order(market, transfer(target(20, ALICE)), BOB)
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"] * 3
    assert sorted(market.amounts(BOB)) == [10, 30, 70]
    assert market.amounts(ALICE, category="stored") == [20]


def test_the_ledger_refuses_one_of_several(market: Market):
    issue(market, 100, 100, 100)
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    made = order(market, transfer(None))
    market.settle()
    made = operation(market, made["id"])
    assert made["status"] == "partially_completed"
    assert (made["totals"]["completed"], made["totals"]["declined"]) == (200, 100)


def test_a_repeat_makes_no_second_order(market: Market):
    issue(market, 100, 100)
    body, key = transfer(50), {"Idempotency-Key": "order 1"}
    first = sent(market, body, **key)
    market.settle()
    again = sent(market, body, **key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert (first.json["status"], again.json["status"]) == ("pending", "completed")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    rejected(market, transfer(51), 422, "idempotency_key_reused", **key)
    assert got(market, "/v2/operations?idempotencyKey=order%201")["results"] == [again.json]
    assert market.amounts(BOB) == [50]


def test_a_rejected_order_leaves_its_key_free(market: Market):
    issue(market, 100)
    key = {"Idempotency-Key": "order 2"}
    rejected(market, transfer(150), 422, "insufficient", **key)
    assert sent(market, transfer(100), **key).status_code == 202
