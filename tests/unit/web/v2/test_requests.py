"""What version 2 reads of paths and headers."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.things import OFFERED, THINGS, things_app

_CLIENT = things_app().test_client()
_JSON, _CSV, _PDF = OFFERED


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return _CLIENT


def _order(headers: dict[str, str]) -> Any:
    return _CLIENT.post("/v2/things", json={"targets": [{"account": "bo"}]}, headers=headers)


@pytest.mark.parametrize("key", ["k", "a key, with spaces", "~" * 255, '"quoted"'])
def test_an_idempotency_key_is_printable_ascii(key: str):
    assert _order({"Idempotency-Key": key}).json["read"]["key"] == key


@pytest.mark.parametrize("key", ["", "~" * 256, "é", "a\tb", "a\x7fb", "\u0142"])
def test_any_other_key_is_invalid(key: str):
    response = _CLIENT.post(
        "/v2/things",
        json={"targets": [{"account": "bo"}]},
        environ_overrides={"HTTP_IDEMPOTENCY_KEY": key},
    )
    assert (response.status_code, response.json["code"]) == (400, "idempotency_key_invalid")


def test_a_missing_key_is_told():
    response = _order({})
    assert (response.status_code, response.json["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("wait=10", 10),
        ("wait=0", 0),
        ("wait=25", 25),
        ("wait=26", 25),
        ("wait=0000000000000000010", 10),
        ("wait=" + "9" * 5000, 25),
        ("Wait=7", 7),
        ("wait = 7", 7),
        ('wait="7"', 7),
        ("respond-async, wait=7", 7),
        ("respond-async,wait=7;x=1", 7),
        ('foo="a, wait=3", wait=7', 7),
        ("wait=7, wait=9", 7),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=ten", 0),
        ("waiting=7", 0),
        ("wait=\u00b2", 0),
    ],
)
def test_prefer_wait_is_read(prefer: str | None, wait_s: int):
    headers = {"Idempotency-Key": "k", **({} if prefer is None else {"Prefer": prefer})}
    assert _order(headers).json["read"]["wait"] == wait_s


@settings(max_examples=30)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30))
def test_no_prefer_is_an_error(prefer: str):
    response = _CLIENT.post(
        "/v2/things",
        json={"targets": [{"account": "bo"}]},
        environ_overrides={"HTTP_IDEMPOTENCY_KEY": "k", "HTTP_PREFER": prefer},
    )
    assert response.status_code == 202
    assert 0 <= response.json["read"]["wait"] <= 25


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, _JSON),
        ("", _JSON),
        ("*/*", _JSON),
        ("application/*", _JSON),
        ("text/*", _CSV),
        ("text/csv", _CSV),
        ("TEXT/CSV", _CSV),
        ("text/csv; charset=utf-8", _CSV),
        ("text/csv;charset=UTF-8", _CSV),
        ('application/json;q=0.2, text/csv; charset="utf-8"; q=0.4', _CSV),
        ("application/json;q=0.5, text/csv", _CSV),
        ("application/json;q=0.5, text/csv;q=0.6, application/pdf;q=0.1", _CSV),
        ("application/json;q=0, */*", _CSV),
        ("application/json;q=0, text/csv;q=0, */*;q=0.1", _PDF),
        ("text/html, application/xhtml+xml, application/pdf;q=0.9, */*;q=0.1", _PDF),
        ("text/html, */*;q=0.1", _JSON),
        ("application/pdf, text/csv", _CSV),
        ("application/json;q=0.001", _JSON),
    ],
)
def test_the_form_is_negotiated(client: FlaskClient, accept: str | None, media_type: str):
    response = client.get(
        "/v2/things/document", headers={} if accept is None else {"Accept": accept}
    )
    assert response.status_code == 200
    assert response.mimetype == media_type
    assert response.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    "accept",
    ["text/html", "*/*;q=0", "application/json;q=0", "image/*", "csv", "text/csv;header=absent"],
)
def test_a_form_that_is_not_offered_is_406(client: FlaskClient, accept: str):
    response = client.get("/v2/things/document", headers={"Accept": accept})
    assert (response.status_code, response.json["code"]) == (406, "not_acceptable")
    assert response.content_type == "application/problem+json"
    assert response.headers["Vary"] == "Accept"


def test_an_id_may_have_capital_letters(client: FlaskClient):
    for text in (str(THINGS[0].id), str(THINGS[0].id).upper()):
        assert client.get(f"/v2/things/{text}").status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("7", id="a number"),
        pytest.param(THINGS[0].id.hex, id="without hyphens"),
        pytest.param(f"{{{THINGS[0].id}}}", id="in braces"),
        pytest.param(f"urn:uuid:{THINGS[0].id}", id="a URN"),
        pytest.param(f"{THINGS[0].id}%0A", id="a line's end"),
        pytest.param(f"%20{THINGS[0].id}", id="a space"),
        pytest.param("%00", id="NUL"),
        pytest.param("\u0660" * 36, id="digits that are not ASCII"),
    ],
)
def test_what_is_no_uuid_is_not_found(client: FlaskClient, text: str):
    response = client.get(f"/v2/things/{text}")
    assert (response.status_code, response.json["code"]) == (404, "not_found")
