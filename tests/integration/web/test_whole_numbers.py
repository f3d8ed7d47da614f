"""Whole numbers may be written as 100.0 in every input (contract: http-api, Conventions)."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.support.market import CONSUMPTION, PRODUCTION, Market
from tests.support.world import ggo_of

WRONG = [
    b"1.5",
    b'"10"',
    b"true",
    b"1e300",
    b"1000000000000000000.5",
    b"9223372036854775808.0",
    b"9" * 400,
]
_HERE = "the number goes here"

_PLACES: dict[str, tuple[str, Any]] = {
    "transfer": (
        "/ggo/compose",
        {"address": "a", "transfers": [{"amount": _HERE, "account": "bob"}]},
    ),
    "retire": ("/ggo/compose", {"address": "a", "retires": [{"amount": _HERE, "gsrn": "1"}]}),
    "limit": ("/ggo", {"filters": {}, "limit": _HERE}),
    "offset": ("/ggo", {"filters": {}, "offset": _HERE}),
    "utcOffset": ("/ggo/summary", {"filters": {}, "resolution": "all", "utcOffset": _HERE}),
    "declaration": (
        "/eco-declaration",
        {
            "gsrn": [CONSUMPTION],
            "resolution": "all",
            "beginRange": {"begin": "2020-01-01T00:00", "end": "2020-01-01T00:00"},
            "utcOffset": _HERE,
        },
    ),
    "minAmount": (
        "/accounts/find-suppliers",
        {
            "dateRange": {"begin": "2020-01-01", "end": "2020-01-01"},
            "minAmount": _HERE,
            "minCoverage": 1.0,
        },
    ),
    "forecast": (
        "/forecast/submit",
        {
            "account": "bob",
            "reference": "",
            "sector": "DK1",
            "begin": "2020-01-01T00:00",
            "resolution": "PT1H",
            "forecast": [_HERE],
        },
    ),
    "forecast offset": ("/forecast/list", {"offset": _HERE}),
    "forecast limit": ("/forecast/list", {"limit": _HERE}),
}


@pytest.fixture
def post(market: Market) -> Callable[[str, bytes], Any]:
    def call(place: str, number: bytes) -> Any:
        path, body = _PLACES[place]
        raw = orjson.dumps(body).replace(orjson.dumps(_HERE), number)
        headers = {"Authorization": f"Bearer {market.tokens['alice']}"}
        return market.client().post(path, data=raw, headers=headers)

    return call


def test_requests(market: Market, post: Callable[[str, bytes], Any]):
    # Each endpoint accepts the number as it accepts 10.
    market.consume(amount=10)
    for place in _PLACES:
        plain = post(place, b"10")
        for same in (b"10.0", b"1e1", b"10.000"):
            answer = post(place, same)
            assert answer.status_code == plain.status_code, (place, answer.text)
            if place != "forecast":
                assert answer.json == plain.json, place
        for number in WRONG:
            answer = post(place, number)
            assert answer.status_code == 400, (place, number)
            assert isinstance(answer.json["message"], dict), (place, number, answer.text)


def test_webhooks(market: Market):
    for place, (text, amount) in enumerate(
        ((b"100.0", 100), (b"1e2", 100), (b"9007199254740993.0", 9007199254740993))
    ):
        ggo = ggo_of(PRODUCTION, address=f"849c0b{place:064x}", amount=_HERE)
        raw = orjson.dumps({"sub": "alice", "ggo": ggo}).replace(orjson.dumps(_HERE), text)
        answer = market.webhook("on-ggo-issued", raw)
        assert (answer.status_code, answer.json) == (200, {"success": True})
        query = "SELECT amount FROM ggos WHERE address = :address"
        assert market.value(query, address=ggo["address"]) == amount
    for wrong in WRONG:
        ggo = ggo_of(PRODUCTION, address="849c0b" + "9" * 64, amount=_HERE)
        raw = orjson.dumps({"sub": "alice", "ggo": ggo}).replace(orjson.dumps(_HERE), wrong)
        answer = market.webhook("on-ggo-issued", raw)
        assert answer.status_code == 400, wrong
        assert list(answer.json["message"]["ggo"]) == ["amount"], wrong


@pytest.mark.parametrize("number", [b"9" * 400, b"-" + b"9" * 400, b"1" + b"0" * 13])
def test_emissions_beyond_all_bounds(market: Market, number: bytes):
    """No float can hold the first two, which are whole numbers."""
    ggo = ggo_of(PRODUCTION, emissions={"CO2": _HERE})
    raw = orjson.dumps({"sub": "alice", "ggo": ggo}).replace(orjson.dumps(_HERE), number)
    answer = market.webhook("on-ggo-issued", raw)
    assert answer.status_code == 400
    assert list(answer.json["message"]["ggo"]) == ["emissions"]


def test_fetched_ggos(market: Market):
    """Ill-formed GGOs are left out; those that the sandbox sends are stored."""
    numbers = [b"100.0", b"1e2", *WRONG]
    ggos = [
        ggo_of(PRODUCTION, address=f"849c0b{place:064x}", amount=f"number {place}")
        for place in range(len(numbers))
    ]
    raw = orjson.dumps({"success": True, "ggos": ggos})
    for place, number in enumerate(numbers):
        raw = raw.replace(b'"number %d"' % place, number)
    market.datahub.fault(endpoint="/ggo", times=1, status=200, body=raw.decode())
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind, metering_point_id) "
        "SELECT user_id, 'fetch_ggos', id FROM metering_points WHERE gsrn = :gsrn",
        gsrn=PRODUCTION,
    )
    market.run_jobs()
    assert market.rows("SELECT amount FROM ggos ORDER BY address") == [(100,), (100,)]


def test_a_measurement_that_is_retired_to(market: Market):
    address, measured = market.issue(100), market.consume(amount=100)
    found = market.sandbox.datahub.publish(CONSUMPTION, market.hour(1), 100)
    body = {
        **found,
        "address": measured,
        "begin": market.begin.isoformat(),
        "end": market.hour(1).isoformat(),
    }
    raw = orjson.dumps({"success": True, "measurement": {**body, "amount": _HERE}})
    for number, status in ((b"1.5", 502), (b'"100"', 502), (b"true", 502), (b"100.0", 200)):
        market.datahub.fault(
            endpoint="/measurements/consumed",
            times=1,
            status=200,
            body=raw.replace(orjson.dumps(_HERE), number).decode(),
        )
        answer = market.compose(address, retires=[(100, CONSUMPTION)])
        assert answer.status_code == status, (number, answer.text)
