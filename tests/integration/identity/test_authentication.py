"""Authentication: token, account, scopes, in this order and before the body."""

import json
import logging
import socket
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.scripted_peer import ScriptedPeer, http_answer
from tests.support.world import ALL_SCOPES, World


def test_without_a_token(world: World) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        response = world.client().post("/accounts", headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="AccountService"'
        assert response.json == {"success": False, "message": "No bearer token"}


@pytest.mark.parametrize("token", ["unknown", "æ", "a b", "x" * 3000])
def test_unknown_token(world: World, token: str) -> None:
    response = world.post("/accounts", token=token)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_all_invalid_tokens_get_the_same_answer(world: World) -> None:
    """A disabled account, an unknown one and a dead token cannot be told apart."""
    world.new_user("alice")
    world.post("/auth/disable-user", token=world.token("alice"))
    answers = [
        world.post("/accounts", {"not": "looked at"}, token=token)
        for token in ("unknown", world.token("nobody"), world.token("alice"))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert len({answer.headers["WWW-Authenticate"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ggo", {"filters": {}}),
        ("/ggo", {"filters": {}, "limit": 5, "cursor": ""}),
        ("/ggo", {"wrong": 1}),
        ("/ggo/get-total-amount", {"filters": {}}),
        ("/ggo/get-total-amount", None),
        ("/transfer/get-total-amount", {"filters": {}}),
        ("/ggo/compose", {"address": "a", "transfers": [{"amount": 1, "account": "bob"}]}),
        ("/ggo/compose", {"address": "a"}),
        ("/ggo/compose", []),
    ],
)
def test_a_disabled_accounts_token_is_rejected_at_once(
    world: World, path: str, body: object
) -> None:
    """The token stops working at once, whatever the body is."""
    world.new_user("alice")
    token = world.token("alice")
    assert world.post(path, body, token=token).status_code in {200, 400}
    world.post("/auth/disable-user", token=token)
    for _ in range(2):
        answer = world.post(path, body, token=token)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert world.post(path, body, token=world.token("nobody")).status_code == 401


def test_a_replaced_database_gives_the_subject_its_new_account(
    world: World,
) -> None:
    """Operators may replace the database of a running web: no account sees another's GGOs."""
    world.new_user("alice")
    world.new_user("bob")
    token = world.token("alice")
    filters = {"filters": {}}
    assert world.post("/ggo", filters, token=token).status_code == 200
    world.rows("UPDATE users SET subject = 'x' WHERE subject = 'alice'")
    world.rows("UPDATE users SET subject = 'alice' WHERE subject = 'bob'")
    for path in ("/ggo", "/ggo/get-total-amount"):
        assert world.post(path, filters, token=token).status_code == 200
    order = {"address": "a", "transfers": [{"amount": 1, "account": "alice"}]}
    assert world.post("/ggo/compose", order, token=token).status_code == 400
    world.rows("UPDATE users SET subject = 'bob' WHERE subject = 'alice'")
    assert world.post("/ggo", filters, token=token).status_code == 401


def test_expired_and_revoked_tokens(world: World) -> None:
    world.new_user("alice")
    assert world.post("/accounts", token=world.token("alice", expires_in=-1)).status_code == 401
    token = world.token("alice")
    world.hydra.control("revoke", {"token": token})
    assert world.post("/accounts", token=token).status_code == 401


def test_a_token_without_the_scope(world: World) -> None:
    world.new_user("alice")
    response = world.post("/accounts", token=world.token("alice", scope="openid ggo.read"))
    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="AccountService", error="insufficient_scope", scope="profile"'
    )
    assert response.json["success"] is False


def test_the_account_is_checked_before_the_scopes(world: World) -> None:
    """Where no account is needed, only the scopes are checked."""
    world.new_user("alice")
    world.post("/auth/disable-user", token=world.token("alice"))
    for subject in ("alice", "nobody"):
        unscoped = world.token(subject, scope="openid")
        assert world.post("/accounts", token=unscoped).status_code == 401
        assert world.post("/auth/disable-user", token=unscoped).status_code == 403


def test_two_scopes_are_both_needed(world: World) -> None:
    world.new_user("alice")
    for scope in ("ggo.transfer", "ggo.retire"):
        assert world.post("/compose", {}, world.token("alice", scope=scope)).status_code == 403
    both = world.token("alice", scope="ggo.transfer ggo.retire")
    assert world.post("/compose", {}, both).status_code == 400


def test_tokens_are_checked_before_bodies(world: World) -> None:
    world.new_user("alice")
    assert world.post("/compose").status_code == 401
    assert world.post("/compose", {"x": 1}, world.token("nobody")).status_code == 401
    assert world.post("/compose", {"x": 1}, world.token("alice", scope="x")).status_code == 403


def test_refresh_token_posing_as_access_token(world: World) -> None:
    world.new_user("alice")
    tokens = world.hydra.control("tokens", {"sub": "alice"})
    assert world.post("/accounts", token=tokens["access_token"]).status_code == 200
    assert world.post("/accounts", token=tokens["refresh_token"]).status_code == 401


_GOOD = {"active": True, "scope": "profile", "sub": "alice", "token_type": "Bearer"}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (_GOOD, 200),
        (_GOOD | {"new": {"field": 1}}, 200),
        (_GOOD | {"token_type": "bearer"}, 200),
        (_GOOD | {"token_type": "access_token"}, 200),
        (_GOOD | {"token_use": "access_token"}, 200),
        (_GOOD | {"token_type": "", "token_use": "access_token"}, 200),
        (_GOOD | {"token_type": None, "token_use": "access_token"}, 200),
        (_GOOD | {"token_type": "refresh_token"}, 401),
        (_GOOD | {"token_use": "refresh_token"}, 401),
        (_GOOD | {"token_type": "", "token_use": "refresh_token"}, 401),
        (_GOOD | {"token_type": "access_token", "token_use": "id_token"}, 401),
        (_GOOD | {"token_type": "refresh_token", "token_use": "access_token"}, 401),
        # No member names an access token.
        ({"active": True, "scope": "profile", "sub": "alice"}, 401),
        (_GOOD | {"token_type": "", "token_use": ""}, 401),
        (_GOOD | {"token_type": None}, 401),
        (_GOOD | {"exp": 1}, 401),
        (_GOOD | {"exp": 4102444800}, 200),
        ({"active": True, "scope": "profile", "token_type": "Bearer"}, 401),
        (_GOOD | {"sub": ""}, 401),
        (_GOOD | {"sub": "a\0b"}, 401),
        ({"active": True, "sub": "alice", "token_type": "Bearer"}, 403),
        (_GOOD | {"scope": None}, 403),
        ({"active": False}, 401),
        (_GOOD | {"active": "true"}, 502),
        (_GOOD | {"scope": ["profile"]}, 502),
        (_GOOD | {"exp": "soon"}, 502),
        (_GOOD | {"token_type": ["Bearer"]}, 502),
        (_GOOD | {"sub": 5}, 502),
        ({}, 502),
        ([], 502),
        ("garbage", 502),
    ],
)
def test_introspections(world: World, answer: object, status: int) -> None:
    world.new_user("alice")
    world.hydra.fault(endpoint="/oauth2/introspect", times=1, body=answer, status=200)
    assert world.post("/accounts", token="a-token").status_code == status


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 404}, {"cut": "before"}])
def test_hydra_out_of_reach(world: World, fault: dict[str, object]) -> None:
    world.hydra.fault(endpoint="/oauth2/introspect", times=1, **fault)
    response = world.post("/accounts", token="a-token")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.json["success"] is False


def test_introspection_with_credentials(new_world: Callable[..., World]) -> None:
    world = new_world(hydra_introspect_auth=True)
    world.new_user("alice")
    assert world.post("/accounts", token=world.token("alice")).status_code == 200


def _introspections(world: World) -> int:
    return world.hydra.call_count("/oauth2/introspect")


def test_active_tokens_are_cached(world: World) -> None:
    world.new_user("alice")
    token = world.token("alice")
    assert [world.post("/accounts", token=token).status_code for _ in range(3)] == [200] * 3
    assert _introspections(world) == 1
    # Compose introspects each time.
    world.post("/compose", {}, token)
    world.post("/compose", {}, token)
    assert _introspections(world) == 3


def test_inactive_tokens_are_not_cached(world: World) -> None:
    world.new_user("alice")
    world.hydra.fault(endpoint="/oauth2/introspect", times=1, status=200, body={"active": False})
    token = world.token("alice")
    assert world.post("/accounts", token=token).status_code == 401
    assert world.post("/accounts", token=token).status_code == 200


def test_the_cache_can_be_disabled(new_world: Callable[..., World]) -> None:
    world = new_world(token_cache_seconds=0)
    world.new_user("alice")
    token = world.token("alice")
    world.post("/accounts", token=token)
    world.post("/accounts", token=token)
    assert _introspections(world) == 2


def test_a_cached_introspection_ends_with_the_token(world: World) -> None:
    world.new_user("alice")
    # Long enough for a busy machine to answer the first request.
    expires_at = int(time.time()) + 4
    introspection = _GOOD | {"exp": expires_at}
    world.hydra.fault(endpoint="/oauth2/introspect", times=1, status=200, body=introspection)
    assert world.post("/accounts", token="short-lived").status_code == 200
    time.sleep(max(expires_at - time.time(), 0) + 0.05)
    assert world.post("/accounts", token="short-lived").status_code == 401


def test_compose_notices_a_revoked_token(world: World) -> None:
    world.new_user("alice")
    token = world.token("alice")
    world.post("/accounts", token=token)
    world.hydra.control("revoke", {"token": token})
    assert world.post("/compose", {}, token).status_code == 401
    # Its cached introspection is dropped.
    assert world.post("/accounts", token=token).status_code == 401


def test_disabling_takes_effect_at_once(world: World) -> None:
    world.new_user("alice")
    token = world.token("alice")
    assert world.post("/accounts", token=token).status_code == 200
    assert world.post("/auth/disable-user", token=token).json == {"success": True}
    assert world.post("/accounts", token=token).status_code == 401


def test_no_token_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        world.new_user("alice")
        token = world.token("alice")
        world.post("/accounts", token=token)
        world.hydra.fault(endpoint="/oauth2/introspect", times=1, status=500)
        world.post("/compose", {}, token)
    assert token not in caplog.text
    assert "code=" not in caplog.text.replace("response_type=code", "")


def test_a_body_is_ignored_if_none_is_needed(world: World) -> None:
    world.new_user("alice")
    headers = {"Authorization": f"Bearer {world.token('alice')}"}
    for body in (b"", b"not json", b'{"x": 1}'):
        assert world.client().post("/accounts", data=body, headers=headers).status_code == 200


def test_sandbox_speaks_as_contract(world: World) -> None:
    """The token is opaque: only Hydra can introspect it."""
    token = world.token("alice")
    answer = requests.post(
        f"{world.hydra.url}/oauth2/introspect", data={"token": token, "scope": ""}, timeout=5
    ).json()
    assert answer["sub"] == "alice"
    assert "alice" not in token


def test_a_late_introspection_is_not_taken_for_another_tokens(
    new_world: Callable[..., World],
) -> None:
    """A proxy in front of Hydra sends a 102 half a second before the response."""
    hydra = ScriptedPeer()
    world = new_world(hydra_introspect_url=f"http://{hydra.address}/introspect")

    def introspection(subject: str) -> bytes:
        token = {"active": True, "sub": subject, "scope": ALL_SCOPES, "token_type": "Bearer"}
        return http_answer(json.dumps(token).encode())

    def late(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        hydra.over.wait(0.5)
        connection.sendall(introspection("alice"))

    hydra.scripts = [late, lambda to: to.sendall(introspection("bob"))]
    for subject in ("alice", "bob"):
        world.new_user(subject)
    alices, bobs = (world.post("/accounts", token=token) for token in ("alice's", "bob's"))
    assert alices.json == {"success": True, "accounts": [{"id": "alice"}]}
    assert bobs.json == {"success": True, "accounts": [{"id": "bob"}]}
    assert [b"bob" in request for request in hydra.requests] == [False, True]
    hydra.close()
