"""Bodies and queries of version 2 are strict; what is wrong is named by pointer or parameter."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.web.v2.blueprint import Blueprint, _members_twice
from tests.support.things import things_app

_CLIENT = things_app().test_client()
_KEY = {"Idempotency-Key": "k"}
_TARGET = {"account": "bo", "amount": 1}


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return _CLIENT


def _order(client: FlaskClient, body: Any, query: str = "") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/v2/things{query}", data=raw, headers=_KEY)


def _wrong(client: FlaskClient, body: Any) -> dict[str, str]:
    """Return code by pointer."""
    response = _order(client, body)
    assert (response.status_code, response.json["code"]) == (400, "schema_violated")
    return {each["pointer"]: each["code"] for each in response.json["errors"]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body_missing"),
        (b"  ", "body_missing"),
        (b"{", "body_not_json"),
        (b'{"targets": NaN}', "body_not_json"),
        (b'{"targets": [{"account": "bo", "amount": NaN}]}', "body_not_json"),
        (b'{"targets": [{"account": "bo", "amount": -Infinity}]}', "body_not_json"),
        (b'{"targets": [{"account": "bo", "amount": 1e999}]}', "body_not_json"),
        (b'{"targets": [{"account": "\\ud800"}]}', "body_not_json"),
        (b'{"targets": "\xff"}', "body_not_json"),
        (b"[" * 100_000, "body_not_json"),
        (b"[" * 20_000 + b"]" * 20_000, "body_not_json"),
        (b'{"targets": [], }', "body_not_json"),
        (b'{"targets": []} x', "body_not_json"),
    ],
    ids=range(13),
)
def test_what_is_no_json_is_told(client: FlaskClient, body: bytes, code: str):
    response = _order(client, body)
    assert (response.status_code, response.json["code"]) == (400, code)
    assert "errors" not in response.json


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"/targets": "missing"}),
        ({"targets": None}, {"/targets": "missing"}),
        ([], {"": "invalid"}),
        ("text", {"": "invalid"}),
        ({"targets": []}, {"/targets": "length"}),
        ({"targets": [_TARGET] * 101}, {"/targets": "length"}),
        ({"targets": {}}, {"/targets": "invalid"}),
        ({"targets": [1, _TARGET]}, {"/targets/0": "invalid"}),
        ({"targets": [None]}, {"/targets/0": "invalid"}),
        ({"targets": [_TARGET, {"amount": 1}]}, {"/targets/1/account": "missing"}),
        ({"targets": [{"account": None}]}, {"/targets/0/account": "missing"}),
        ({"targets": [_TARGET], "more": 1}, {"/more": "unknown"}),
        ({"targets": [_TARGET], "more": None}, {"/more": "unknown"}),
        ({"targets": [{**_TARGET, "to/from~": 1}]}, {"/targets/0/to~1from~0": "unknown"}),
        ({"targets": [{**_TARGET, "amount": 1.5}]}, {"/targets/0/amount": "invalid"}),
        ({"targets": [{**_TARGET, "amount": "1"}]}, {"/targets/0/amount": "invalid"}),
        ({"targets": [{**_TARGET, "amount": True}]}, {"/targets/0/amount": "invalid"}),
        ({"targets": [{**_TARGET, "amount": 0}]}, {"/targets/0/amount": "out_of_range"}),
        ({"targets": [{**_TARGET, "amount": 2**63}]}, {"/targets/0/amount": "out_of_range"}),
        ({"targets": [{**_TARGET, "amount": 1e300}]}, {"/targets/0/amount": "invalid"}),
        ({"targets": [{"account": 7}]}, {"/targets/0/account": "invalid"}),
        ({"targets": [{"account": "a\0"}]}, {"/targets/0/account": "invalid"}),
        ({"targets": [{"account": "b" * 501}]}, {"/targets/0/account": "length"}),
        ({"targets": [{**_TARGET, "share": 12.5}]}, {"/targets/0/share": "invalid"}),
        (
            {"targets": [_TARGET], "expiresBefore": "2026-01-01T00:00:00"},
            {"/expiresBefore": "invalid"},
        ),
        (
            {"targets": [_TARGET], "period": {"from": "2026-01-01"}},
            {"/period/to": "missing"},
        ),
    ],
    ids=range(26),
)
def test_wrong_members_are_named(client: FlaskClient, body: Any, wrong: dict[str, str]):
    assert _wrong(client, body) == wrong


def test_null_counts_as_absent(client: FlaskClient):
    body = {"targets": [{**_TARGET, "share": None}], "period": None, "expiresBefore": None}
    response = _order(client, body)
    assert response.status_code == 202
    assert response.json["read"]["body"] == (
        "{'targets': [{'account': 'bo', 'amount': 1}], 'parts': []}"
    )


def test_a_whole_number_may_have_a_point(client: FlaskClient):
    """As in JSON Schema, the value decides."""
    response = _order(client, b'{"targets": [{"account": "bo", "amount": 1.0}]}')
    assert response.status_code == 202
    assert "'amount': 1}" in response.json["read"]["body"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b'{"targets": [], "targets": []}', {"/targets": "duplicate"}),
        (
            b'{"targets": [{"account": "bo"}, {"account": "bo", "amount": 1, "amount": 1}]}',
            {"/targets/1/amount": "duplicate"},
        ),
        (b'{"targets": [], "t\\u0061rgets": null}', {"/targets": "duplicate"}),
        (
            b'[{"a": 1, "a": 2, "a": 3, "b": 4, "b": 5}, [[{"c": 1, "c": 2}]]]',
            {"/0/a": "duplicate", "/0/b": "duplicate", "/1/0/0/c": "duplicate"},
        ),
        (b'{"x": {"y": 1, "y": 1}, "x": 2}', {"/x": "duplicate"}),
    ],
    ids=range(5),
)
def test_a_member_that_stands_twice_is_named(
    client: FlaskClient, body: bytes, wrong: dict[str, str]
):
    assert _wrong(client, body) == wrong


@pytest.mark.parametrize("depth", [19, 20, 300, 900, 5000])
def test_a_member_that_stands_twice_far_below_is_no_unexpected_error(
    client: FlaskClient, depth: int
):
    response = _order(client, b'{"a":' * depth + b'{"b": 1, "b": 2}' + b"}" * depth)
    assert response.status_code == 400
    assert response.json["code"] == ("body_not_json" if depth == 5000 else "schema_violated")


def test_a_list_beyond_its_limit_is_told_before_anything_else(client: FlaskClient):
    response = _order(client, {"more": 1, "targets": [1], "parts": ["a", 2, None]})
    assert (response.status_code, response.json["code"]) == (413, "body_too_large")
    assert response.json["detail"] == "The body is longer than 3 bytes"
    assert _wrong(client, {"targets": [_TARGET], "parts": ["a", 2]}) == {"/parts/1": "invalid"}


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4)
    ),
)


@given(_JSON)
def test_what_stands_once_is_never_named(document: Any):
    assert _members_twice(json.dumps(document, allow_nan=False).encode()) == {}


@given(_JSON, st.lists(st.text(max_size=5) | st.integers(0, 2), max_size=4), st.text(max_size=5))
def test_what_stands_twice_is_named_at_any_depth(document: Any, path: list[str | int], name: str):
    inner = json.dumps(document)
    raw = f"{{{json.dumps(name)}: {inner}, {json.dumps(name)}: 1}}"
    for step in reversed(path):
        if isinstance(step, int):
            raw = "[" + "0, " * step + raw + "]"
        else:
            raw = f"{{{json.dumps(step)}: {raw}}}"
    messages = _members_twice(raw.encode())
    for step in path:
        assert messages.keys() == {step}
        messages = messages[step]
    assert messages == {name: ["Stands more than once."]}


def _list(client: FlaskClient, query: str) -> Any:
    return client.get(f"/v2/things{query}")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?limit=1",
        "?limit=1000",
        "?cursor=",
        "?kind=round",
        "?kind=round,square",
        "?kind=round,round,square",
        "?kind=",
        "?size=-5",
        "?from=2026-01-01",
        "?to=2026-01-01",
        "?from=2026-01-01&to=2026-01-02&timeZone=Europe/Copenhagen",
        "?from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00%2B00:00",
    ],
)
def test_a_good_query_is_taken(client: FlaskClient, query: str):
    assert _list(client, query).status_code == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?size=1&sise=2", "sise"),
        ("?offset=0", "offset"),
        ("?limit=1&limit=1", "limit"),
        ("?kind=round&kind=square", "kind"),
        ("?cursor=&cursor=", "cursor"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=", "limit"),
        ("?limit=1.0", "limit"),
        ("?limit=1e2", "limit"),
        ("?limit=%2B1", "limit"),
        ("?limit=1_0", "limit"),
        ("?limit=%201", "limit"),
        ("?limit=%D9%A1", "limit"),
        ("?limit=" + "9" * 5000, "limit"),
        ("?kind=flat", "kind.0"),
        ("?kind=round,,square", "kind"),
        ("?kind=,", "kind"),
        ("?kind=round,square,flat", "kind"),
        ("?from=2026-01-01&to=2026-01-02T00:00:00Z", "to"),
        ("?from=2026-01-02&to=2026-01-01", "to"),
        ("?from=2026-01-01T00:00:00", "from"),
        ("?from=20260101", "from"),
        ("?from=2026-02-30", "from"),
        ("?timeZone=Mars/Base", "timeZone"),
        ("?timeZone=", "timeZone"),
    ],
)
def test_a_wrong_parameter_is_named(client: FlaskClient, query: str, named: str):
    response = _list(client, query)
    assert (response.status_code, response.json["code"]) == (400, "schema_violated")
    assert response.json["detail"].startswith(f"{named}: ")
    assert named.partition(".")[0] in response.json["message"]
    assert "errors" not in response.json


@pytest.mark.parametrize("path", ["/v2/things/document", "/v2/things/none"])
def test_a_view_without_parameters_takes_none(client: FlaskClient, path: str):
    response = client.get(f"{path}?a=1")
    assert (response.status_code, response.json["code"]) == (400, "schema_violated")


def test_a_view_with_a_body_takes_no_parameters(client: FlaskClient):
    response = _order(client, {"targets": [_TARGET]}, "?dryRun=true")
    assert response.status_code == 400
    assert response.json["message"] == {"dryRun": ["Unknown parameter."]}


def test_every_view_says_how_it_reads_the_query():
    blueprint = Blueprint("forgetful", __name__)
    with pytest.raises(TypeError, match=r"/v2/x: add @blueprint\.query"):
        blueprint.get("/v2/x")(lambda: "")
    with pytest.raises(TypeError, match="not a path of version 2"):
        blueprint.get("/x")(blueprint.query()(lambda: ""))


@settings(max_examples=30)
@given(
    st.text(max_size=50)
    | st.binary(max_size=50).map(lambda raw: "".join(f"%{each:02x}" for each in raw))
)
def test_no_query_is_an_unexpected_error(query: str):
    response = _CLIENT.get("/v2/things", query_string=query)
    assert response.status_code in {200, 400}


@settings(max_examples=30)
@given(_JSON)
def test_no_body_is_an_unexpected_error(document: Any):
    assert _order(_CLIENT, {"targets": document}).status_code in {202, 400}
