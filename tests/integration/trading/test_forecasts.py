"""Forecasts: submitted, found, listed, and told by webhook."""

from datetime import UTC, datetime
from typing import Any

import pytest
from werkzeug.test import TestResponse

from origin.domain.durations import fixed_duration
from tests.integration.trading.market import Market
from tests.integration.trading.test_webhooks import (
    deliver,
    market,
    received,
    shared_market,
    subscribe,
)

__all__ = ["market", "shared_market"]


def submit(market: Market, **changes: Any) -> TestResponse:
    body = {
        "account": "bob",
        "reference": "wind",
        "sector": "DK1",
        "begin": "2020-01-01T00:00:00",
        "resolution": "PT1H",
        "forecast": [100, 0, 2**40],
        **changes,
    }
    return market.post("/forecast/submit", body, market.tokens["alice"])


def ask(market: Market, path: str = "", subject: str = "bob", **body: Any) -> Any:
    answer = market.post(f"/forecast{path}", body, market.tokens[subject])
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_forecast_is_told_to_its_recipient(market: Market):
    subscribe(market, "bob", "bob", event="on-forecast-received")
    before = datetime.now(UTC)
    forecast_id = submit(market).json["id"]
    assert market.hints.deliveries == 1
    assert deliver(market) == 1
    [came] = received(market, "bob")
    forecast = came["json"]["forecast"]
    assert came["json"] == {"sub": "bob", "forecast": forecast}
    assert before <= datetime.fromisoformat(forecast["created"]) <= datetime.now(UTC)
    assert forecast == {
        "id": forecast_id,
        "sender": "alice",
        "recipient": "bob",
        "created": forecast["created"],
        "begin": "2020-01-01T00:00:00+00:00",
        "end": "2020-01-01T03:00:00+00:00",
        "sector": "DK1",
        "reference": "wind",
        "forecast": [100, 0, 2**40],
        "resolution": "PT1H",
    }
    for subject in ("alice", "bob"):
        assert ask(market, subject=subject, id=forecast_id, atTime=None) == {
            "success": True,
            "forecast": forecast,
        }
    market.new_user("carol")
    market.tokens["carol"] = market.token("carol")
    assert ask(market, subject="carol", id=forecast_id) == {"success": False, "forecast": None}


def test_they_are_found_newest_first(market: Market):
    first, second = submit(market).json["id"], submit(market, reference="").json["id"]
    third = submit(market, begin="2021-01-01T00:00:00+01:00", account="alice").json["id"]

    def ids(subject: str = "alice", **body: Any) -> list[str]:
        found = ask(market, "/list", subject, **body)
        assert found["success"] is True
        return [str(found["total"]), *(each["id"] for each in found["forecasts"])]

    assert ids() == ["3", third, second, first]
    assert ids("bob", limit=None) == ["2", second, first]
    assert ids(offset=1, limit=1) == ["3", second]
    assert ids(reference="") == ["1", second]
    assert ids(reference="wind", atTime="2020-01-01T03:00:00Z") == ["1", first]
    assert ids(atTime="2020-01-01 00:00:00") == ["2", second, first]
    assert ids(atTime="2020-01-01T03:00:01Z") == ["0"]
    assert ids(atTime="2020-12-31T23:00:00Z") == ["1", third]
    assert ask(market, subject="bob")["forecast"]["id"] == second
    assert ask(market, subject="alice", reference="wind")["forecast"]["id"] == third
    assert ask(market, "/series", "alice") == {
        "success": True,
        "sent": ["", "wind"],
        "received": ["wind"],
    }
    assert ask(market, "/series")["received"] == ["", "wind"]


def test_what_can_not_be_is_refused_by_field(market: Market):
    for field, value in (
        ("account", "nobody"),
        ("reference", None),
        ("sector", None),
        ("begin", "yesterday"),
        ("resolution", "P1M"),
        ("resolution", "P1Y"),
        ("resolution", "PT0S"),
        ("resolution", "P999999999W"),
        ("resolution", "P3000000D"),
        ("resolution", 3600),
        ("forecast", []),
        ("forecast", [1.5]),
        ("forecast", [True]),
        ("forecast", ["1"]),
        ("forecast", [2**63]),
        ("forecast", [None]),
    ):
        answer = submit(market, **{field: value})
        assert (answer.status_code, list(answer.json["message"])) == (400, [field]), value
    assert "fixed length" in submit(market, resolution="P1M").text
    assert submit(market, begin="9999-12-31T23:00:00Z").status_code == 400
    for path in ("/list", ""):
        assert market.post(f"/forecast{path}", {"x": 1}, market.tokens["bob"]).status_code == 400
    assert ask(market, "/list")["total"] == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT15M", 900),
        ("PT1H", 3600),
        ("P1D", 86400),
        ("P2W", 14 * 86400),
        ("P1DT1H1M1.5S", 90061.5),
        ("PT0,5S", 0.5),
    ],
)
def test_durations(text: str, seconds: float):
    assert fixed_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1", "1H", "PT1", "P1H", "pt1h", "PT-1H", "P1DT"])
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError, match="Not a valid"):
        fixed_duration(text)
