"""Lists of version 2 page by keyset; a cursor belongs to its account, path and filters."""

import re
import string
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import CursorInvalid
from origin.keys.sealing import Signer
from origin.web.v2.pages import KeyValue, listing_id, read_cursor, write_cursor
from tests.support.things import THINGS, things_app

_APP = things_app()


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return _APP.test_client()


def _page(client: FlaskClient, query: str, account: str = "anna") -> Any:
    return client.get(f"/v2/things{query}", headers={"X-Account": account})


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 24, 25, 26, 1000])
def test_the_pages_hold_each_result_once_and_in_order(client: FlaskClient, limit: int):
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        answer = _page(client, f"?limit={limit}&cursor={cursor}").json
        assert answer.keys() == {"results", "nextCursor"}
        seen += [each["id"] for each in answer["results"]]
        cursor = answer["nextCursor"]
        pages += 1
    assert seen == [str(each.id) for each in THINGS]
    assert pages == -(-len(THINGS) // limit)


def test_the_limit_may_change_between_pages(client: FlaskClient):
    cursor = _page(client, "?limit=3").json["nextCursor"]
    rest = _page(client, f"?limit=1000&cursor={cursor}").json
    assert [each["id"] for each in rest["results"]] == [str(each.id) for each in THINGS[3:]]


def test_the_default_limit_is_100(client: FlaskClient):
    assert _page(client, "").json["nextCursor"] is None
    assert len(THINGS) < 100


_FILTERS = "from=2026-01-01T00:00:00Z&kind=round"


@pytest.mark.parametrize(
    ("filters", "is_same"),
    [
        (_FILTERS, True),
        ("kind=round&from=2026-01-01T00:00:00Z", True),
        ("from=2026-01-01T01:00:00%2B01:00&kind=round,round", True),
        ("from=2026-01-01&kind=round&timeZone=UTC", True),
        ("from=2026-01-01T00:00:00Z", False),
        ("from=2026-01-01T00:00:00Z&kind=square", False),
        ("from=2026-01-01T00:00:00Z&kind=round&size=1", False),
        ("from=2026-01-01T00:00:01Z&kind=round", False),
        ("from=2026-01-01T00:00:00Z&kind=round&timeZone=Europe/Copenhagen", False),
        ("kind=round", False),
    ],
)
def test_a_cursor_belongs_to_its_filters(client: FlaskClient, filters: str, is_same: bool):
    cursor = _page(client, f"?limit=1&{_FILTERS}").json["nextCursor"]
    response = _page(client, f"?limit=1&cursor={cursor}&{filters}")
    if is_same:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json["code"]) == (400, "invalid_cursor")


def test_a_cursor_belongs_to_its_account(client: FlaskClient):
    cursor = _page(client, "?limit=1").json["nextCursor"]
    response = _page(client, f"?limit=1&cursor={cursor}", account="bo")
    assert (response.status_code, response.json["code"]) == (400, "invalid_cursor")


def test_a_new_secret_makes_old_cursors_invalid_unless_the_old_one_stays(client: FlaskClient):
    cursor = _page(client, "?limit=1").json["nextCursor"]
    for secrets, status in [(("another",), 400), (("another", "a secret"), 200)]:
        other = things_app(secrets).test_client()
        assert _page(other, f"?limit=1&cursor={cursor}").status_code == status


@pytest.mark.parametrize("cursor", ["a", "null", "=", "%00", "%F0%9F%98%80", "A" * 44, "x" * 5000])
def test_garbage_is_an_invalid_cursor(client: FlaskClient, cursor: str):
    response = _page(client, f"?cursor={cursor}")
    assert (response.status_code, response.json["code"]) == (400, "invalid_cursor")


_KEYS = st.lists(
    st.datetimes().map(lambda each: each.replace(tzinfo=UTC))
    | st.uuids()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(alphabet=st.characters(codec="utf-8"), max_size=9),
    max_size=3,
).map(tuple)
_LISTING = listing_id("anna", "/v2/things", {})
_SIGNER = Signer(["a secret"])


@given(_KEYS)
def test_a_cursor_reads_as_it_was_written(key: tuple[KeyValue, ...]):
    text = write_cursor(key, _LISTING, _SIGNER)
    assert read_cursor(text, _LISTING, _SIGNER) == key
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


@given(st.data())
def test_a_cursor_with_any_letter_changed_added_or_left_out_is_invalid(data: st.DataObject):
    key = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=1), UUID(int=7))
    text = write_cursor(key, _LISTING, _SIGNER)
    place = data.draw(st.integers(0, len(text)))
    letter = data.draw(st.sampled_from(["", "A", "b", "_", "=", "\n", "é", " "]))
    changed = text[:place] + letter + text[place + data.draw(st.integers(0, 1)) :]
    if changed == text:
        assert read_cursor(changed, _LISTING, _SIGNER) == key
        return
    with pytest.raises(CursorInvalid):
        read_cursor(changed, _LISTING, _SIGNER)


@pytest.mark.parametrize("value", [1, 10, 100])
def test_each_cursor_has_one_text(value: int):
    """Base64 has several where the bytes leave bits of the last letter unused."""
    text = write_cursor((value,), _LISTING, _SIGNER)
    for letter in {*string.ascii_letters, *string.digits, "-", "_"} - {text[-1]}:
        with pytest.raises(CursorInvalid):
            read_cursor(text[:-1] + letter, _LISTING, _SIGNER)


def test_a_cursor_belongs_to_its_path(client: FlaskClient):
    cursor = _page(client, "?limit=1").json["nextCursor"]
    assert client.get("/v2/more-things").status_code == 200
    response = client.get(f"/v2/more-things?cursor={cursor}")
    assert (response.status_code, response.json["code"]) == (400, "invalid_cursor")


def test_account_path_and_filters_cannot_stand_in_for_each_other():
    ids = {
        listing_id("a", "b", {}),
        listing_id("b", "a", {}),
        listing_id("a", "b", {"c": ["d"]}),
        listing_id("a", "b", {"c": "d"}),
        listing_id("a", "b", {"c": ["d", "e"]}),
        listing_id("a", "b", {"c": ["d,e"]}),
    }
    assert len(ids) == 6
