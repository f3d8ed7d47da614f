"""Orders that are rejected change nothing, and leave their keys free."""

import orjson
import pytest

from origin.bulk.rules import limits
from tests.support.bulk_orders import (
    DAY,
    got,
    order,
    rejected,
    retirement,
    sent,
    target,
    transfer,
)
from tests.support.market import CONSUMPTION, Market

ALICE, BOB = "alice", "bob"

_TRANSFERS = [
    (transfer(target(1, ALICE)), 422, "same_account", ["/targets/0/account"]),
    (transfer(1, target(1, "nobody")), 422, "account_unavailable", ["/targets/1/account"]),
    (transfer(1, target("50")), 400, "takes_mixed", ["/targets"]),
    (transfer(1, target(None)), 400, "takes_mixed", ["/targets"]),
    (transfer("60", "40.00001"), 400, "percentages_above_100", ["/targets"]),
    (transfer(), 400, "schema_violated", ["/targets"]),
    (transfer("0"), 400, "schema_violated", ["/targets/0/take/percentage"]),
    (transfer("100.1"), 400, "schema_violated", ["/targets/0/take/percentage"]),
    (transfer("1.123456"), 400, "schema_violated", ["/targets/0/take/percentage"]),
    (transfer("5e1"), 400, "schema_violated", ["/targets/0/take/percentage"]),
    (transfer(0), 400, "schema_violated", ["/targets/0/take/amount"]),
    (transfer(2**63 - 1, 1), 400, "schema_violated", ["/targets"]),
    (transfer(2**63 - 1, 1, dryRun=True), 400, "schema_violated", ["/targets"]),
    (transfer(2**63), 400, "schema_violated", ["/targets/0/take/amount"]),
    (transfer({"account": BOB, "take": {}}), 400, "schema_violated", ["/targets/0/take"]),
    (
        transfer({"account": BOB, "take": {"amount": 1, "all": True}}),
        400,
        "schema_violated",
        ["/targets/0/take"],
    ),
    (
        transfer({"account": BOB, "take": {"all": 1}}),
        400,
        "schema_violated",
        ["/targets/0/take/all"],
    ),
    (transfer({"take": {"all": True}}), 400, "schema_violated", ["/targets/0/account"]),
    (transfer(1, dryRun="yes"), 400, "schema_violated", ["/dryRun"]),
    (transfer(1, spread="even"), 400, "schema_violated", ["/spread"]),
    (transfer(1, against={}, x=1), 400, "schema_violated", ["/against", "/x"]),
    (transfer(1, expect={}), 400, "schema_violated", ["/expect/planDigest"]),
    (transfer(1, select=None), 400, "schema_violated", ["/select"]),
    (transfer(1, select={"sector": "DK1"}), 400, "schema_violated", ["/select/sector"]),
    (transfer(1, select={"colour": []}), 400, "schema_violated", ["/select/colour"]),
    (
        transfer(1, select={"expiresBefore": "2026-01-01T00:00:00"}),
        400,
        "schema_violated",
        ["/select/expiresBefore"],
    ),
    (
        transfer(1, select={"period": {"from": "2026-01-01", "to": "2026-01-02T00:00:00Z"}}),
        400,
        "schema_violated",
        ["/select/period/to"],
    ),
]


def test_bad_transfers(market: Market):
    market.issue(100)
    for body, status, code, pointers in _TRANSFERS:
        path, token = "/v2/transfers", market.tokens[ALICE]
        before = market.snapshot()
        answer = market.post(path, body, token, **{"Idempotency-Key": "one and the same"})
        assert answer.status_code == status, (body, answer.text)
        assert answer.content_type == "application/problem+json"
        assert answer.json["code"] == code, body
        assert sorted(each["pointer"] for each in answer.json["errors"]) == pointers
        assert market.snapshot() == before
    # The key is still free.
    assert sent(market, transfer(1), **{"Idempotency-Key": "one and the same"}).status_code == 202


def test_bad_retirements(market: Market):
    market.issue(100)
    market.consume()
    good = retirement(1)
    for change, pointers in (
        ({"against": {"gsrn": [CONSUMPTION]}}, ["/against/period"]),
        ({"against": {"gsrn": CONSUMPTION, "period": DAY}}, ["/against/gsrn"]),
        ({"take": None}, ["/take"]),
        ({"order": "expiry_first"}, ["/order"]),
        ({"order": {"ggos": "best_first"}}, ["/order/ggos"]),
        ({"targets": []}, ["/targets"]),
        ({"spread": "sequential"}, ["/spread"]),
    ):
        problem = rejected(market, {**good, **change}, 400, "schema_violated")
        assert [each["pointer"] for each in problem["errors"]] == pointers


def test_an_unknown_and_a_disabled_account_are_told_alike(market: Market):
    market.issue(100)
    market.rows("UPDATE users SET disabled_at = now() WHERE subject = 'bob'")
    answers = [
        rejected(market, transfer(target(1, account)), 422, "account_unavailable")
        for account in (BOB, "nobody")
    ]
    for answer, account in zip(answers, (BOB, "nobody"), strict=True):
        del answer["requestId"]
        assert account in answer.pop("detail")
        assert account in answer.pop("message")
        assert account in answer["errors"][0].pop("detail")
    assert answers[0] == answers[1]


def test_what_is_too_large_is_told_before_anything_else(market: Market):
    """All the rest is wrong, too, and there is no key."""
    wrong = {"x": 1, "dryRun": 7, "order": [], "take": "all"}
    three_years = {"from": "2020-01-01", "to": "2023-01-01"}
    many = ["5"] * 10_001
    for path, body, count in (
        ("transfers", {"targets": [7] * 101}, 101),
        ("transfers", {"select": {"address": [7, *many]}}, 10_002),
        ("transfers", {"select": {"period": three_years}}, 3),
        ("retirements", {"against": {"gsrn": many}}, 10_001),
        ("retirements", {"against": {"period": three_years}}, 3),
        ("retirements", {"order": {"points": many}}, 10_001),
        ("retirements", {"order": {"technologies": many}}, 10_001),
    ):
        answer = market.post(f"/v2/{path}", {**wrong, **body}, market.tokens[ALICE])
        assert (answer.status_code, answer.json["code"]) == (422, "too_many"), answer.text
        assert answer.json["count"] == count
    two_years = {"from": "2024-02-29T12:00:00+13:00", "to": "2026-02-28T12:00:00+13:00"}
    rejected(market, transfer(1, select={"period": two_years}), 422, "nothing_selected")


def test_a_plan_may_be_too_large(market: Market, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_SOURCES", 2)
    for hour in range(3):
        market.issue(100, market.hour(hour))
    assert rejected(market, transfer(201), 422, "too_many")["count"] == 3
    order(market, transfer(200))


def test_a_key_is_needed_and_must_be_fit(market: Market):
    market.issue(100)
    token = market.tokens[ALICE]
    answer = market.post("/v2/transfers", transfer(1), token)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")
    rejected(market, transfer(1), 400, "idempotency_key_invalid", **{"Idempotency-Key": ""})
    # A dry run needs none, and doesn't take one.
    key = {"Idempotency-Key": "dry"}
    assert sent(market, transfer(1, dryRun=True), **key).status_code == 200
    assert sent(market, transfer(1), **key).status_code == 202


def test_scopes(market: Market):
    market.issue(100)
    market.consume()
    for body, scope in ((transfer(1), "ggo.retire"), (retirement(1), "ggo.transfer")):
        for dry_run in (True, False):
            path = "/v2/retirements" if "against" in body else "/v2/transfers"
            token = market.token(ALICE, f"ggo.read {scope}")
            answer = market.post(path, {**body, "dryRun": dry_run}, token)
            assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")


def test_odd_json(market: Market):
    market.issue(100)
    good = orjson.dumps(transfer(1)).decode()
    for raw, status in (
        ("", 400),
        ("[]", 400),
        ("7", 400),
        (good.replace('"amount":1', '"amount":NaN'), 400),
        (good.replace('"amount":1', '"amount":"1"'), 400),
        (good.replace('"amount":1', '"amount":1.5'), 400),
        (good.replace('"amount":1', '"amount":1,"amount":1'), 400),
        (good.replace('"amount":1', '"amount":true'), 400),
        (good.replace('"bob"', '"bo\\u0000b"'), 400),
        (good.replace('"bob"', '"\\ud800"'), 400),
        (good.replace('"amount":1', '"amount":1.0'), 202),
    ):
        answer = market.client().post(
            "/v2/transfers",
            data=raw,
            headers={
                "Authorization": f"Bearer {market.tokens[ALICE]}",
                "Idempotency-Key": f"odd {raw}"[:200].encode("ascii", "replace").decode(),
            },
        )
        assert answer.status_code == status, (raw, answer.text)


def test_recovery_mode_rests_orders(new_market):
    new_market().issue(100)
    market = new_market(recovery_mode=True)
    for body in (transfer(1), transfer(1, dryRun=True), retirement(1)):
        rejected(market, body, 503, "recovering")
    assert got(market, "/v2/transfers")["results"] == []


def test_a_composes_key_is_reused(market: Market):
    address = market.issue(100)
    key = {"Idempotency-Key": "shared"}
    assert market.compose(address, transfers=[(10, BOB)], **key).status_code == 200
    market.settle()
    rejected(market, transfer(1), 422, "idempotency_key_reused", **key)
    other = {"Idempotency-Key": "other"}
    order_id = sent(market, transfer(1), **other).json["id"]
    market.settle()
    rest = next(ggo["address"] for ggo in market.listed(ALICE))
    answer = market.compose(rest, transfers=[(1, BOB)], **other)
    assert answer.status_code == 422
    assert sent(market, transfer(1), **other).json["id"] == order_id
