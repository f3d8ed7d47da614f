"""Forecasts: submitted, found, listed, and announced by webhook."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event
from werkzeug.test import TestResponse

from origin.forecasts.rules import fixed_duration
from tests.integration.webhooks.test_webhooks import (
    deliver,
    market,
    received,
    shared_market,
    subscribe,
)
from tests.support.market import Market
from tests.support.world import at_once

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


def test_a_forecast_is_announced_to_its_recipient(market: Market):
    subscribe(market, "bob", "bob", event="on-forecast-received")
    before = datetime.now(UTC)
    forecast_id = submit(market).json["id"]
    assert market.wakeups.deliveries == 1
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


def test_forecasts_are_found_newest_first(market: Market):
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


def test_invalid_values_are_rejected_by_field(market: Market):
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
def test_invalid_durations(text: str):
    with pytest.raises(ValueError, match="Not a valid"):
        fixed_duration(text)


def test_a_forecast_is_as_long_as_a_leap_year_of_quarters(market: Market):
    longest = [1] * 35_136
    assert submit(market, forecast=longest, resolution="PT15M").status_code == 200
    answer = submit(market, forecast=[*longest, 1], resolution="PT15M")
    assert answer.status_code == 400
    assert list(answer.json["message"]) == ["forecast"]
    assert ask(market)["forecast"]["forecast"] == longest


def put(market: Market, count: int, values: int, sender: str = "alice", to: str = "bob") -> None:
    """Insert forecasts without a request for each."""
    market.rows(
        'INSERT INTO forecasts (sender_id, recipient_id, sector, reference, begin, "end", '
        "resolution, amounts) SELECT sender.id, recipient.id, 'DK1', number::text AS reference, now(), "
        "now() + interval '1 hour', 'PT1H', array_fill(number, ARRAY[:values]) "
        "FROM users AS sender, users AS recipient, generate_series(1, :count) AS number "
        "WHERE sender.subject = :sender AND recipient.subject = :recipient ORDER BY number",
        count=count,
        values=values,
        sender=sender,
        recipient=to,
    )


def references(market: Market, subject: str = "bob", **body: Any) -> list[int]:
    found = ask(market, "/list", subject, **body)
    return [int(each["reference"]) for each in found["forecasts"]]


def test_a_thousand_are_kept_of_one_sender_to_one_recipient(market: Market):
    put(market, 1000, 1)
    put(market, 3, 1, sender="bob", to="alice")
    put(market, 3, 1, sender="alice", to="alice")
    market.rows("UPDATE forecasts SET reference = 'oldest' WHERE reference = '1'")
    assert submit(market).status_code == 200
    assert ask(market, "/list")["total"] == 1000 + 3
    assert ask(market, reference="oldest")["forecast"]["sender"] == "bob"
    assert ask(market, "/list", reference="2")["total"] == 2
    # Other pairs are untouched, and an excess is deleted.
    put(market, 50, 1)
    assert submit(market).status_code == 200
    assert ask(market, "/list")["total"] == 1000 + 3


def test_the_limit_holds_for_many_submissions_at_once(market: Market):
    put(market, 998, 1)
    answers = at_once(*[lambda: submit(market)] * 6)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert ask(market, "/list")["total"] == 1000


def test_a_list_without_a_limit_holds_a_million_values(market: Market):
    put(market, 30, 35_136)
    for without in ({}, {"limit": None}, {"limit": 0}):
        # 28 of them are 983,808 values.
        assert references(market, **without) == list(range(30, 2, -1))
    assert ask(market, "/list")["total"] == 30
    assert references(market, offset=28) == [2, 1]
    assert references(market, offset=30) == []
    # With a limit, the limit alone counts.
    assert references(market, limit=29) == list(range(30, 1, -1))


def test_the_newest_is_listed_however_long_it_is(market: Market):
    """Earlier versions accepted longer forecasts."""
    put(market, 2, 600_000)
    assert references(market) == [2]
    market.rows("UPDATE forecasts SET amounts = array_fill(1, ARRAY[1100000])")
    assert references(market) == [2]
    assert references(market, limit=2) == [2, 1]


def test_small_forecasts_are_listed_in_few_statements(market: Market):
    put(market, 5000, 3)
    with counted(market) as statements:
        assert references(market) == list(range(5000, 0, -1))
    assert len(statements) < 30


def test_the_newest_is_found_without_loading_the_others(market: Market):
    """Among 200 long forecasts, only the values of one are read."""
    put(market, 200, 35_136)
    with counted(market) as statements:
        began = time.process_time()
        found = ask(market)
        spent = time.process_time() - began
    assert found["forecast"]["reference"] == "200"
    assert spent < 0.5
    assert len(statements) < 10


@contextmanager
def counted(market: Market) -> Iterator[list[str]]:
    """Collect the statements that SQLAlchemy sends."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = market.runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_list_takes_little_memory(market: Market):
    """A limit admits ten million values: they are read and sent in parts."""
    put(market, 300, 35_136)
    tracemalloc.start()
    try:
        answer = market.client().post(
            "/forecast/list",
            data=b'{"limit": 300}',
            headers={"Authorization": f"Bearer {market.tokens['bob']}"},
            buffered=False,
        )
        length = sum(len(part) for part in answer.response)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        answer.close()
    assert length > 300 * 35_136 * 2
    assert peak < 20 * 1024 * 1024


@pytest.mark.parametrize("wrong", ["no UUID", "", "1", 1, [], {}, True, "x" * 10_000])
def test_an_id_that_is_no_uuid_matches_nothing(market: Market, wrong: Any):
    assert submit(market).status_code == 200
    assert ask(market, id=wrong) == {"success": False, "forecast": None}
