"""Errors of version 2 are problem details (RFC 9457); those of the old API stay as they are."""

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from origin import errors
from origin.errors import OriginError, SchemaViolated
from origin.identity.authentication import requires
from origin.web import errors as table
from origin.web.errors import V2, Wording
from origin.web.messages import MAX_MESSAGE_BYTES, CodedText, as_json
from origin.web.v2.problems import MAX_MEMBER_ERRORS, MEMBER_CODES, problem_of
from tests.support.things import MAX_BODY_BYTES, things_app

_RAISED: dict[str, Exception] = {}


def _raise(name: str) -> str:
    raise _RAISED[name]


@pytest.fixture(scope="module")
def app() -> Flask:
    made = things_app()
    made.add_url_rule("/v2/raise/<name>", view_func=_raise)
    made.add_url_rule("/old/raise/<name>", endpoint="old", view_func=_raise)
    made.add_url_rule(
        "/v2/guarded", view_func=requires("ggo.read")(lambda: "in"), endpoint="guarded"
    )
    return made


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def raising(client: FlaskClient) -> Iterator[Callable[..., Any]]:
    """Return a function that has a view raise an error, and returns the response."""

    def raise_it(error: Exception, path: str = "/v2/raise/it") -> Any:
        _RAISED["it"] = error
        return client.get(path)

    yield raise_it
    _RAISED.clear()


def _checked(response: Any) -> dict[str, Any]:
    """Return the problem, after checking what all problems have."""
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(response.data)
    assert body["type"] == f"urn:problem-type:account-service:{body['code']}"
    assert body["status"] == response.status_code
    assert body["title"] == body["code"].replace("_", " ").capitalize()
    assert body["requestId"] == response.headers["X-Request-ID"]
    assert body["success"] is False
    assert isinstance(body["detail"], str)
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (errors.BodyMissing(), 400, "body_missing", {}),
        (
            errors.AccessTokenInvalid(),
            401,
            "access_token_invalid",
            {"WWW-Authenticate": 'Bearer realm="AccountService", error="invalid_token"'},
        ),
        (
            errors.ScopeMissing(["ggo.read"]),
            403,
            "scope_missing",
            {
                "WWW-Authenticate": (
                    'Bearer realm="AccountService", error="insufficient_scope", scope="ggo.read"'
                )
            },
        ),
        (errors.TokensSpent(), 403, "login_required", {}),
        (errors.NotFound(), 404, "not_found", {}),
        (errors.NotAcceptable(["text/csv"]), 406, "not_acceptable", {}),
        (errors.BodyTooSlow(30), 408, "body_too_slow", {}),
        (errors.KeyInUse(), 409, "idempotency_key_in_use", {"Retry-After": "1"}),
        (errors.BodyTooLarge(9), 413, "body_too_large", {}),
        (errors.KeyReused(), 422, "idempotency_key_reused", {}),
        (errors.MeteringPointUnavailable(["57"]), 422, "metering_point_unavailable", {}),
        (errors.RateLimited(600, 7), 429, "rate_limited", {"Retry-After": "7"}),
        (errors.PeerMisbehaved("Hydra", "x"), 502, "peer_misbehaved", {}),
        (errors.PeerUnreachable("Hydra", "x"), 503, "peer_unavailable", {"Retry-After": "10"}),
        (errors.Recovering(), 503, "recovering", {"Retry-After": "60"}),
        (psycopg2.OperationalError(), 503, "database_unavailable", {"Retry-After": "10"}),
        (KeyError("hush"), 500, "internal_server_error", {}),
        (OriginError("hush"), 500, "internal_server_error", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_is_a_problem(
    raising: Callable[..., Any],
    error: Exception,
    status: int,
    code: str,
    headers: dict[str, str],
):
    response = raising(error)
    body = _checked(response)
    assert (body["status"], body["code"]) == (status, code)
    assert {name: response.headers[name] for name in headers} == headers
    assert body["message"] == body["detail"]
    assert b"hush" not in response.data


def test_the_old_api_answers_the_same_error_as_before(raising: Callable[..., Any]):
    response = raising(errors.MeteringPointUnavailable(["57"]), "/old/raise/it")
    assert response.status_code == 400
    assert response.content_type == "application/json"
    assert response.data == (b'{"success":false,"message":"MeteringPoint unavailable (GSRN: 57)"}')


@pytest.mark.parametrize("path", ["/v2x/nothing", "/nothing", "/old/v2/nothing"])
def test_other_paths_are_the_old_apis(client: FlaskClient, path: str):
    response = client.get(path)
    assert response.content_type == "application/json"
    assert response.data == b'{"success":false,"message":"Not Found"}'


def test_without_a_token_it_is_401(client: FlaskClient):
    response = client.get("/v2/guarded?size=wrong")
    assert _checked(response)["code"] == "access_token_missing"
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="AccountService"'


def test_an_unknown_resource_and_an_unknown_path_have_the_same_bytes(client: FlaskClient):
    paths = (
        "/v2/things/0193e0c2-7b1f-7c55-9d0c-6d0a5c2b7f41",
        "/v2/things/none",
        "/v2/none",
        "/v2",
        "/v2/",
    )
    headers = {"X-Request-ID": "one"}
    found = [client.get(path, headers=headers) for path in paths]
    assert {each.status_code for each in found} == {404}
    assert len({each.data for each in found}) == 1
    assert len({str(each.headers) for each in found}) == 1
    assert _checked(found[0])["code"] == "not_found"


def test_a_method_that_is_not_allowed_is_told_with_those_that_are(client: FlaskClient):
    response = client.delete("/v2/things")
    assert _checked(response)["code"] == "method_not_allowed"
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST"}


def test_a_long_body_is_413(client: FlaskClient):
    for length in (MAX_BODY_BYTES + 1, MAX_BODY_BYTES * 2):
        response = client.post("/v2/things", data=b" " * length)
        assert _checked(response)["code"] == "body_too_large"
        assert response.status_code == 413


def test_wrong_members_are_named_by_pointers(raising: Callable[..., Any]):
    violated = SchemaViolated(
        {
            "targets": {
                0: {"account": ["Missing data for required field."]},
                3: {"_schema": ["Invalid input type."]},
            },
            "a/b~c": ["Unknown field."],
            "size": ["Must be greater than or equal to 1.", CodedText("Odd.", "odd")],
        }
    )
    body = _checked(raising(violated))
    assert body["errors"] == [
        {
            "pointer": "/targets/0/account",
            "code": "missing",
            "detail": "Missing data for required field.",
        },
        {"pointer": "/targets/3", "code": "invalid", "detail": "Invalid input type."},
        {"pointer": "/a~1b~0c", "code": "unknown", "detail": "Unknown field."},
        {
            "pointer": "/size",
            "code": "out_of_range",
            "detail": "Must be greater than or equal to 1.",
        },
        {"pointer": "/size", "code": "odd", "detail": "Odd."},
    ]
    assert body["detail"] == "/targets/0/account: Missing data for required field."
    assert body["message"] == json.loads(as_json(violated.messages))


def test_wrong_parameters_have_no_pointers(raising: Callable[..., Any]):
    body = _checked(raising(SchemaViolated({"kind": {1: ["Odd."]}}, in_query=True)))
    assert "errors" not in body
    assert body["detail"] == "kind.1: Odd."


def test_a_rule_may_point_and_add_members(
    raising: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    error = errors.MeteringPointUnavailable(["57", "58"])
    wording = Wording(
        422,
        lambda _: "Not there",
        pointers=lambda each: [f"/against/gsrn/{place}" for place, _ in enumerate(each.gsrns)],
        members=lambda each: {"count": len(each.gsrns)},
    )
    entries = {**table.TABLE, type(error): Wording(400, lambda _: "Old", v2=wording)}
    monkeypatch.setattr(table, "TABLE", entries)
    body = _checked(raising(error))
    assert body["count"] == 2
    assert [each["pointer"] for each in body["errors"]] == ["/against/gsrn/0", "/against/gsrn/1"]
    assert {each["code"] for each in body["errors"]} == {"metering_point_unavailable"}
    assert raising(error, "/old/raise/it").json == {"success": False, "message": "Old"}


_NAMES = st.text(max_size=5) | st.sampled_from(
    ["\u0001" * 301, "\U0001f600" * 301, "~/", "_schema"]
)
_MESSAGES = st.recursive(
    st.lists(_NAMES, min_size=1, max_size=3),
    lambda below: st.dictionaries(_NAMES | st.integers(0, 9), below, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda each: isinstance(each, dict))


@given(_MESSAGES)
def test_every_problem_is_bounded_and_every_pointer_well_formed(messages: dict[str, Any]):
    body = problem_of(SchemaViolated(messages)).body("id")
    assert len(as_json(body)) <= MAX_MESSAGE_BYTES
    assert len(body.get("errors", [])) <= MAX_MEMBER_ERRORS
    for each in body.get("errors", []):
        pointer = each["pointer"]
        assert pointer == "" or pointer.startswith("/")
        assert pointer.count("~") == pointer.count("~0") + pointer.count("~1")


def test_many_errors_are_cut():
    messages = {"targets": {place: {"\u0001" * 400: ["\u0001" * 400]} for place in range(10_000)}}
    body = problem_of(SchemaViolated(messages)).body("id")
    assert 0 < len(body["errors"]) <= MAX_MEMBER_ERRORS
    assert len(as_json(body)) <= MAX_MESSAGE_BYTES


def test_the_codes_of_members_are_in_snake_case():
    assert [code for code in MEMBER_CODES if not code.replace("_", "").islower()] == []


def test_version_2_has_the_statuses_of_its_contract():
    allowed = {400, 401, 403, 404, 406, 408, 409, 412, 413, 422, 428, 429, 502, 503}
    assert {(each.v2 or each).status for each in V2.values()} <= allowed
    assert {HTTPStatus(each) for each in allowed}
