"""Every path of version 2 follows its conventions (contract: v2, Conventions), also those to come."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from origin.monitoring.views.description import document
from origin.shared.clock import utcnow
from origin.shared.uuid7 import uuid7
from tests.support.market import Market

_NO_SCOPE = "openid"


@dataclass(frozen=True)
class Path:
    """A described operation under `/v2`."""

    method: str
    path: str
    described: dict[str, Any]

    def filled(self, id_: str | None = None) -> str:
        """Return the path, with this id or one that nothing has."""
        return re.sub("{[^}]+}", id_ or str(uuid7(utcnow())), self.path)

    @property
    def parameters(self) -> set[str]:
        """The names of its parameters."""
        return {each["name"] for each in self.described.get("parameters", []) if "name" in each}


def _paths(market: Market) -> Iterator[Path]:
    for path, methods in document(market.app)["paths"].items():
        if path.startswith("/v2/"):
            for method, described in methods.items():
                if method in {"get", "post"}:
                    yield Path(method.upper(), path, described)


@pytest.fixture
def paths(market: Market) -> list[Path]:
    found = list(_paths(market))
    assert {each.method for each in found} == {"GET", "POST"}
    return found


@pytest.fixture
def call(market: Market) -> Callable[..., TestResponse]:
    def made(path: Path, query: str = "", **named: Any) -> TestResponse:
        headers = {
            "Authorization": f"Bearer {named.pop('token', market.tokens['alice'])}",
            "Idempotency-Key": "k",
            "X-Request-ID": "one",
            **named.pop("headers", {}),
        }
        method, filled = named.pop("method", path.method), named.pop("filled", path.filled())
        return market.client().open(f"{filled}{query}", method=method, headers=headers, **named)

    return made


def _is_problem(found: TestResponse, status: int, *codes: str) -> bool:
    """Tell whether this is a problem with this status and one of these codes."""
    body: Any = found.json
    named = {"type", "title", "status", "detail", "code", "requestId", "success", "message"}
    return (
        found.status_code == status
        and found.content_type == "application/problem+json"
        and named <= body.keys()
        and body["status"] == status
        and body["code"] in codes
        and body["requestId"] == found.headers["X-Request-ID"]
        and body["success"] is False
    )


def test_the_statuses_that_all_have_are_described(paths: list[Path]):
    for path in paths:
        assert {"400", "401", "403", "429", "503"} <= path.described["responses"].keys(), path.path
        assert ("404" in path.described["responses"]) is ("{" in path.path)


def test_tokens_come_first(paths: list[Path], call: Callable[..., TestResponse], market: Market):
    ended = market.token("nobody")
    for path in paths:
        # Everything else is wrong, too.
        wrong: dict[str, Any] = {"query": "?no=1", "data": b"{", "filled": path.filled("no-id")}
        found = call(path, headers={"Authorization": ""}, **wrong)
        assert _is_problem(found, 401, "access_token_missing"), (path.path, found.text)
        assert found.headers["WWW-Authenticate"].startswith("Bearer")
        for token in ("forged", ended):
            found = call(path, token=token, **wrong)
            assert _is_problem(found, 401, "access_token_invalid"), (path.path, found.text)
        found = call(path, token=market.token("alice", _NO_SCOPE), **wrong)
        assert _is_problem(found, 403, "scope_missing"), (path.path, found.text)


def test_a_disabled_account_is_no_account(
    paths: list[Path], call: Callable[..., TestResponse], market: Market
):
    assert market.post("/auth/disable-user", token=market.tokens["alice"]).status_code == 200
    for path in paths:
        found = call(path)
        assert _is_problem(found, 401, "access_token_invalid"), (path.path, found.text)


def test_other_methods_are_405(paths: list[Path], call: Callable[..., TestResponse]):
    for path in paths:
        for method in ("DELETE", "PUT", "PATCH", "FOO"):
            found = call(path, method=method)
            assert _is_problem(found, 405, "method_not_allowed"), (path.path, found.text)
            assert path.method in found.headers["Allow"]


def test_unknown_and_doubled_parameters_are_400(
    paths: list[Path], call: Callable[..., TestResponse]
):
    for path in paths:
        queries = ["?nonsense=1", "?limits=1&limits=1"]
        queries += [f"?{name}=1&{name}=1" for name in path.parameters & {"limit", "cursor", "from"}]
        for query in queries:
            found = call(path, query, json={})
            assert _is_problem(found, 400, "schema_violated"), (path.path, query, found.text)


def test_an_id_that_nothing_has_is_404_in_the_same_bytes(
    paths: list[Path], call: Callable[..., TestResponse]
):
    for path in paths:
        if "{" not in path.path:
            continue
        found = [call(path, filled=path.filled(id_)) for id_ in (None, "none", "%00", "7" * 600)]
        for each in found:
            assert _is_problem(each, 404, "not_found"), (path.path, each.text)
        assert len({each.data for each in found}) == 1


def test_lists_take_limits_and_their_own_cursors(
    paths: list[Path], call: Callable[..., TestResponse]
):
    lists = [each for each in paths if "cursor" in each.parameters and "{" not in each.path]
    assert lists
    for path in lists:
        for query in ("?cursor=", "?limit=1", "?limit=1000&cursor="):
            found = call(path, query)
            assert found.status_code == 200, (path.path, found.text)
            assert found.json is not None
            assert found.json.keys() == {"results", "nextCursor"}
        for limit in ("0", "1001", "-1", "1.0", "ten", "", "9" * 999):
            found = call(path, f"?limit={limit}")
            assert _is_problem(found, 400, "schema_violated"), (path.path, limit, found.text)
        for cursor in ("x", "A" * 99, "%00", "null"):
            found = call(path, f"?cursor={cursor}")
            assert _is_problem(found, 400, "invalid_cursor"), (path.path, cursor, found.text)


def test_periods_are_of_dates_or_of_times(paths: list[Path], call: Callable[..., TestResponse]):
    for path in paths:
        if path.method == "POST" or not {"from", "to"} <= path.parameters or "{" in path.path:
            continue
        for query in (
            "?from=2026-01-01&to=2026-02-01T00:00:00Z",
            "?from=2026-01-01T00:00:00&to=2026-02-01T00:00:00",
            "?from=2026-02-01&to=2026-01-01",
            "?from=2026-02-30&to=2026-03-01",
            "?from=2026-01-01&to=2026-02-01&timeZone=Mars/Base",
        ):
            found = call(path, query)
            assert _is_problem(found, 400, "schema_violated"), (path.path, query, found.text)


def test_periods_may_end_with_the_first_day_and_begin_with_the_last(
    paths: list[Path], call: Callable[..., TestResponse]
):
    for path in paths:
        if path.method == "GET" and {"from", "to"} <= path.parameters and "{" not in path.path:
            for query in ("?to=0001-01-01", "?from=9999-12-31", "?from=0001-01-01&to=9999-12-31"):
                found = call(path, query)
                assert found.status_code in {200, 400, 422}, (path.path, query, found.text)


def test_bodies_are_strict(paths: list[Path], call: Callable[..., TestResponse], market: Market):
    for path in paths:
        if "requestBody" not in path.described:
            continue
        for raw, code in (
            (b"", "body_missing"),
            (b"{", "body_not_json"),
            (b'{"dryRun": NaN}', "body_not_json"),
            (b"[]", "schema_violated"),
            (b"7", "schema_violated"),
            (b'{"nonsense": 1}', "schema_violated"),
            (b'{"nonsense": null}', "schema_violated"),
            (b'{"select": {}, "select": {}}', "schema_violated"),
        ):
            found = call(path, data=raw)
            assert _is_problem(found, 400, code), (path.path, raw, found.text)
        too_long = b" " * (market.settings.max_body_bytes + 1)
        found = call(path, data=too_long)
        assert _is_problem(found, 413, "body_too_large"), (path.path, found.text)


def _example(path: Path) -> dict[str, Any]:
    """Return an example of the body, as an order that isn't a dry run."""
    content = path.described["requestBody"]["content"]["application/json"]
    first: dict[str, Any] = next(iter(content["examples"].values()))["value"]
    return {name: value for name, value in first.items() if name != "dryRun"}


def test_orders_need_a_key(paths: list[Path], call: Callable[..., TestResponse], market: Market):
    for path in paths:
        if "Idempotency-Key" not in path.parameters or path.method == "GET":
            continue
        headers = {"Authorization": f"Bearer {market.tokens['alice']}"}
        found = market.client().post(path.path, json=_example(path), headers=headers)
        assert _is_problem(found, 400, "idempotency_key_required"), (path.path, found.text)
        for key in ("", "~" * 256, "a\tb"):
            found = call(path, json=_example(path), headers={"Idempotency-Key": key})
            assert _is_problem(found, 400, "idempotency_key_invalid"), (path.path, found.text)


def test_nothing_is_ordered_during_a_recovery(new_market: Callable[..., Market]):
    market = new_market(recovery_mode=True)
    for path in _paths(market):
        if path.method == "GET":
            continue
        headers = {"Authorization": f"Bearer {market.tokens['alice']}", "Idempotency-Key": "k"}
        found = market.client().post(path.filled(), headers=headers)
        assert _is_problem(found, 503, "recovering"), (path.path, found.text)
        assert found.headers["Retry-After"] == "60"
