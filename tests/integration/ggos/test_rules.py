"""What listings, summaries and totals reject, and their answers at the limits."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import SecretStr

from origin.app import create_app
from origin.db.engine import Database
from origin.db.raw_connections import RawConnectionPool
from origin.web.provided import provided_by
from tests.support.books import Books, example_row

WINTER = {"begin": "2020-01-01T00:00:00+00:00", "end": "2020-01-31T00:00:00+00:00"}
SUMMARY = {"resolution": "day", "filters": {}}
LAST_DAY = {
    "fill": True,
    "filters": {"beginRange": {"begin": "9999-12-31T00:00:00Z", "end": "9999-12-31T23:30:00Z"}},
}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/ggo/summary", {**SUMMARY, "utcOffset": 1, "timezone": "Europe/Copenhagen"}, "timezone"),
        ("/ggo/summary", {**SUMMARY, "timezone": "Europe"}, "timezone"),
        ("/ggo/summary", {**SUMMARY, "timezone": "../etc/passwd"}, "timezone"),
        ("/ggo/summary", {**SUMMARY, "utcOffset": 24}, "utcOffset"),
        ("/ggo/summary", {**SUMMARY, "utcOffset": -24}, "utcOffset"),
        ("/ggo/summary", {**SUMMARY, "utcOffset": 1.5}, "utcOffset"),
        ("/ggo/summary", {**SUMMARY, "resolution": "week"}, "resolution"),
        ("/ggo/summary", {"resolution": None, "filters": {}}, "resolution"),
        ("/ggo/summary", {"resolution": "day"}, "filters"),
        ("/ggo/summary", {**SUMMARY, "grouping": ["colour"]}, "grouping"),
        ("/ggo/summary", {**SUMMARY, "direction": "inbound"}, "direction"),
        ("/ggo/summary", {**SUMMARY, "filters": {"reference": ["a"]}}, "filters"),
        ("/ggo/get-total-amount", {"filters": {}, "utcOffset": 1}, "utcOffset"),
        ("/transfer/summary", {**SUMMARY, "direction": "sideways"}, "direction"),
        ("/transfer/get-total-amount", {"filters": {}, "resolution": "day"}, "resolution"),
        ("/ggo", {"filters": {}, "cursor": "nonsense"}, "cursor"),
        ("/ggo", {"filters": {}, "cursor": "WzEsMixbMyw0XV0="}, "cursor"),
        ("/ggo", {"filters": {}, "cursor": "", "offset": 1}, "offset"),
        ("/ggo", {"filters": {}, "order": ["sector"]}, "order"),
        ("/ggo", {"filters": {}, "limit": -1}, "limit"),
        (
            "/ggo",
            {"filters": {"beginRange": {"begin": WINTER["end"], "end": WINTER["begin"]}}},
            "filters",
        ),
        ("/ggo", {"filters": {"begin": WINTER["begin"], "beginRange": WINTER}}, "filters"),
        (
            "/ggo",
            {"filters": {"beginRange": {**WINTER, "end": "2020-01-31T00:00:00+01:00"}}},
            "filters",
        ),
        (
            "/ggo/summary",
            {**SUMMARY, "utcOffset": 5, "filters": {"begin": "0001-01-01T00:00:00"}},
            "filters",
        ),
        ("/ggo/summary", {**SUMMARY, **LAST_DAY, "utcOffset": 1}, "filters"),
        ("/ggo/summary", {**SUMMARY, **LAST_DAY, "resolution": "hour"}, "filters"),
    ],
)
def test_invalid_requests_are_rejected(books: Books, path: str, body: dict[str, Any], field: str):
    assert field in books.rejection(path, body)


def test_fills_have_at_most_a_hundred_thousand_labels(books: Books):
    """The label after 100,000 hours is one too many."""
    books.write([])
    hours = {"begin": "2000-01-01T00:00:00Z", "end": "2011-05-29T15:59:00Z"}
    body = {"resolution": "hour", "fill": True, "filters": {"beginRange": hours}}
    found = books.ask("/ggo/summary", body)
    assert (len(found["labels"]), found["groups"]) == (100_000, [])
    hours["end"] = "2011-05-29T16:00:00Z"
    assert "fill" in books.rejection("/ggo/summary", body)
    assert "fill" in books.rejection("/transfer/summary", body)
    assert books.ask("/ggo/summary", {**body, "fill": False}) == {"labels": [], "groups": []}


def test_a_summary_has_at_most_five_million_values(books: Books):
    begins = [
        datetime(2020, 1, 1, hour, minute, tzinfo=UTC) for hour in range(24) for minute in range(60)
    ]
    books.write([example_row(begin) for begin in begins])
    years = {"begin": "2020-01-01T00:00:00Z", "end": "2020-06-01T00:00:00Z"}
    body = {"resolution": "hour", "filters": {"beginRange": years}, "grouping": ["begin"]}
    assert len(books.ask("/ggo/summary", body)["groups"]) == 24 * 60
    assert "grouping" in books.rejection("/ggo/summary", {**body, "fill": True})


def test_a_cursor_is_valid_for_its_filters_and_order_only(books: Books):
    """It keeps its place and the total of the first page."""
    first, later = datetime(2020, 1, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 2, tzinfo=UTC)
    books.write([example_row(first), example_row(later), example_row(later)])
    page = books.ask("/ggo", {"filters": {}, "limit": 1, "cursor": ""})
    following = {"filters": {}, "limit": 5, "cursor": page["nextCursor"]}
    rest = books.ask("/ggo", following)
    assert (rest["total"], len(rest["results"]), rest["nextCursor"]) == (3, 2, None)
    assert "cursor" in books.rejection("/ggo", {**following, "filters": {"sector": ["DK1"]}})
    assert "cursor" in books.rejection("/ggo", {**following, "order": ["-begin"]})


def test_a_cursor_belongs_to_its_account(books: Books):
    """Otherwise a cursor would reveal how many GGOs its account has."""
    begin = datetime(2020, 1, 1, 1, tzinfo=UTC)
    mine = [example_row(begin + timedelta(hours=number)) for number in range(3)]
    books.write([*mine, *(each._replace(owner="bob") for each in mine)])
    first = {"filters": {}, "limit": 1, "cursor": ""}
    following = {**first, "cursor": books.ask("/ggo", first)["nextCursor"]}
    assert books.ask("/ggo", following)["total"] == 3
    answer = books.world.post("/ggo", following, books.tokens["bob"])
    assert answer.status_code == 400
    assert list(answer.json["message"]) == ["cursor"]
    assert "3" not in answer.text


def test_an_altered_cursor_is_rejected(books: Books):
    begin = datetime(2020, 1, 1, 1, tzinfo=UTC)
    books.write([example_row(begin + timedelta(hours=number)) for number in range(3)])
    first = {"filters": {}, "limit": 1, "cursor": ""}
    cursor = books.ask("/ggo", first)["nextCursor"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    altered = [
        cursor[:place] + alphabet[(alphabet.find(letter) + 1) % 64] + cursor[place + 1 :]
        for place, letter in enumerate(cursor)
    ]
    more = [cursor + "=", cursor + "A", cursor + " ", "!" + cursor, cursor[:-1], cursor[4:], "ø"]
    for wrong in (*altered, *more):
        assert "cursor" in books.rejection("/ggo", {**first, "cursor": wrong}), wrong
    assert books.ask("/ggo", {**first, "cursor": cursor})["total"] == 3


def test_a_cursor_outlives_its_process_and_a_new_secret(books: Books):
    """A process accepts it if it knows the secret that signed it, as its first one or another."""
    begin = datetime(2020, 1, 1, 1, tzinfo=UTC)
    books.write([example_row(begin + timedelta(hours=number)) for number in range(3)])
    first = {"filters": {}, "limit": 1, "cursor": ""}
    following = {**first, "cursor": books.ask("/ggo", first)["nextCursor"]}
    old = books.world.settings.secret.get_secret_value()
    for secrets, status in ((f"a new one,{old}", 200), (old, 200), ("a new one", 400)):
        settings = books.world.settings.model_copy(
            update={"key_encryption_secrets": [SecretStr(each) for each in secrets.split(",")]}
        )
        app = create_app(settings)
        headers = {"Authorization": f"Bearer {books.tokens['alice']}"}
        answer = app.test_client().post("/ggo", json=following, headers=headers)
        assert answer.status_code == status, secrets
        provided_by(app, Database).dispose()


def test_a_long_listing_is_streamed(books: Books):
    """With the total, at an offset, by a cursor and with a limit."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    books.write([example_row(begin, amount) for amount in range(1, 3001)])

    def amounts(**body: Any) -> tuple[list[int], int, Any]:
        found = books.ask("/ggo", {"filters": {}, **body})
        listed = [ggo["amount"] for ggo in found["results"]]
        return listed, found["total"], found.get("nextCursor")

    assert amounts() == (list(range(1, 3001)), 3000, None)
    assert amounts(offset=500, limit=2000) == (list(range(501, 2501)), 3000, None)
    assert amounts(limit=2**63 - 1, order=["-amount"])[0] == list(range(3000, 0, -1))
    listed, total, cursor = amounts(cursor="", limit=1800)
    assert (listed, total) == (list(range(1, 1801)), 3000)
    assert amounts(cursor=cursor, limit=1800) == (list(range(1801, 3001)), 3000, None)
    assert amounts(cursor="") == (list(range(1, 3001)), 3000, None)
    pool: Any = books.world.runtime.database.engine.pool
    assert pool.checkedout() == 0


@pytest.mark.parametrize(
    ("limit", "takes"),
    [
        # Authentication alone: the stream takes a connection of SQLAlchemy's.
        ({}, 1),
        # Authentication, then one statement for page and total.
        ({"limit": 1}, 2),
    ],
)
def test_a_first_page_by_cursor_never_holds_two_connections(
    books: Books, limit: dict[str, int], takes: int
):
    """Requests that hold one and wait for a second block each other.

    Two statements, for the page and for the total, would see two moments of the database.
    """
    books.write([example_row(datetime(2020, 1, 1, tzinfo=UTC))])
    pool = books.world.runtime.database.engine.pool
    assert isinstance(pool, RawConnectionPool)
    check_out, held = pool.check_out, []

    def counting_check_out() -> Any:
        held.append(pool.checkedout())
        return check_out()

    with patch.object(pool, "check_out", counting_check_out):
        assert books.ask("/ggo", {"filters": {}, "cursor": "", **limit})["total"] == 1
    books.write([])
    assert held == [0] * takes
