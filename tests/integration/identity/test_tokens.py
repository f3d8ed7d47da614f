"""Users' tokens are refreshed in time and once; after a refusal of Hydra's they are not."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from origin.accounts.service import users
from origin.errors import PeerError, PeerUnauthorized, PeerUnavailable, TokensSpent
from origin.identity.client import HydraClient
from origin.identity.service import token_refresh, tokens
from origin.shared.clock import utcnow
from tests.support.world import World, at_once


def _stored(world: World, subject: str = "alice") -> tuple[str, str]:
    row = world.rows("SELECT access_token, refresh_token FROM users WHERE subject = :s", s=subject)[
        0
    ]
    open_ = world.runtime.sealer.open
    return (
        open_(row.access_token, f"users.access_token:{subject}"),
        open_(row.refresh_token, f"users.refresh_token:{subject}"),
    )


def _refreshes(world: World) -> int:
    logins = int(world.value("SELECT count(*) FROM users"))
    return world.hydra.call_count("/oauth2/token") - logins


def _refusing_stored_token(world: World) -> Any:
    """Return a call to a peer that refuses the access token that is stored now."""
    refused, _ = _stored(world)

    def call(token: str) -> str:
        if token == refused:
            raise PeerUnauthorized("DataHubService", "answered 401")
        return token

    return call


def test_due_tokens_are_refreshed_and_rotated(world: World) -> None:
    world.new_user("alice")  # Hydra's tokens live for an hour: they are due at once.
    before = _stored(world)
    assert world.runtime.user_tokens.refresh_due() == 1
    after = _stored(world)
    assert before[0] != after[0]
    assert before[1] != after[1]
    # The rotated refresh token works.
    assert world.runtime.user_tokens.refresh_due() == 1


def test_tokens_that_live_longer_are_not_due(world: World) -> None:
    world.hydra.control("lifetimes", {"access_token": 25 * 3600})
    world.new_user("alice")
    assert world.runtime.user_tokens.refresh_due() == 0
    expires_at = world.value("SELECT token_expires_at FROM users")
    assert abs(expires_at - utcnow() - timedelta(hours=25)) < timedelta(minutes=1)
    world.hydra.control("lifetimes", {"access_token": 3600})


def test_one_users_refusal_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_PAGE", 2)
    for number in range(5):
        world.new_user(f"user-{number}")
    world.hydra.control("revoke", {"sub": "user-1"})
    assert world.runtime.user_tokens.refresh_due() == 4
    refused = world.rows("SELECT subject FROM users WHERE tokens_refused_at IS NOT NULL")
    assert refused == [("user-1",)]
    # The refusal is final: Hydra is not asked for that user again.
    count = _refreshes(world)
    assert world.runtime.user_tokens.refresh_due() == 4
    assert _refreshes(world) == count + 4


@pytest.mark.parametrize("status", [500, 503, 429, 404, 403, 302])
def test_a_refresh_that_fails_otherwise_is_tried_again(world: World, status: int) -> None:
    world.new_user("alice")
    before = _stored(world)
    world.hydra.fault(endpoint="/oauth2/token", times=1, status=status)
    assert world.runtime.user_tokens.refresh_due() == 0
    assert _stored(world) == before
    assert world.value("SELECT tokens_refused_at FROM users") is None
    assert world.runtime.user_tokens.refresh_due() == 1


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_refresh_token_is_final_until_the_next_login(world: World, status: int) -> None:
    user_id = world.new_user("alice")
    world.hydra.fault(endpoint="/oauth2/token", times=1, status=status)
    with pytest.raises(TokensSpent):
        world.runtime.user_tokens.refresh_now(user_id)
    count = world.hydra.call_count("/oauth2/token")
    with pytest.raises(TokensSpent):
        world.runtime.user_tokens.with_user_token(user_id, _refusing_stored_token(world))
    assert world.runtime.user_tokens.refresh_due() == 0
    assert world.hydra.call_count("/oauth2/token") == count
    world.new_user("alice")
    world.runtime.user_tokens.refresh_now(user_id)


def test_without_rotation_the_refresh_token_stays(world: World) -> None:
    user_id = world.new_user("alice")
    _, before = _stored(world)
    body = {"access_token": "new", "expires_in": 60, "token_type": "bearer"}
    world.hydra.fault(endpoint="/oauth2/token", times=1, status=200, body=body)
    world.runtime.user_tokens.refresh_now(user_id)
    assert _stored(world) == ("new", before)


def test_a_refused_access_token_is_refreshed_once(world: World) -> None:
    user_id = world.new_user("alice")
    before = _stored(world)
    used = world.runtime.user_tokens.with_user_token(user_id, _refusing_stored_token(world))
    assert used == _stored(world)[0] != before[0]
    assert _refreshes(world) == 1


def test_a_fresh_token_that_is_refused_is_not_refreshed_again(world: World) -> None:
    user_id = world.new_user("alice")
    calls = []

    def refuse(token: str) -> None:
        calls.append(token)
        raise PeerUnauthorized("DataHubService", "answered 401")

    with pytest.raises(PeerUnauthorized):
        world.runtime.user_tokens.with_user_token(user_id, refuse)
    assert len(set(calls)) == len(calls) == 2


def test_concurrent_calls_share_one_refresh(world: World) -> None:
    user_id = world.new_user("alice")
    call = _refusing_stored_token(world)
    world.hydra.fault(endpoint="/oauth2/token", times=None, delay_after=0.3)
    used = at_once(*[lambda: world.runtime.user_tokens.with_user_token(user_id, call)] * 6)
    assert set(used) == {_stored(world)[0]}
    assert _refreshes(world) == 1


def test_two_beats_refresh_once(world: World) -> None:
    for number in range(3):
        world.new_user(f"user-{number}")
    world.hydra.fault(endpoint="/oauth2/token", times=None, delay_after=0.2)
    at_once(*[world.runtime.user_tokens.refresh_due] * 2)
    assert _refreshes(world) == 3
    assert world.value("SELECT count(*) FROM users WHERE tokens_refused_at IS NOT NULL") == 0


def test_no_connection_is_held_while_hydra_is_asked(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor while another refresh is awaited: one connection is enough for all."""
    world = new_world(database_conn_poll_size=1)
    for number in range(4):
        world.new_user(f"user-{number}")
    alice = world.new_user("alice")
    call, refresh, held = _refusing_stored_token(world), HydraClient.refresh, []

    def slow(client: HydraClient, token: str) -> Any:
        fresh = refresh(client, token)
        time.sleep(0.3)
        held.append(world.value("SELECT count(*) FROM users WHERE refreshing_until > now()"))
        return fresh

    monkeypatch.setattr(HydraClient, "refresh", slow)
    for user in world.rows("SELECT subject FROM users WHERE subject <> 'alice'"):
        world.hydra.control("expire", {"token": _stored(world, user.subject)[0]})
    used = at_once(
        *[lambda: world.runtime.user_tokens.with_user_token(alice, call)] * 4, world.run_jobs
    )
    assert set(used[:-1]) == {_stored(world)[0]}
    assert len(held) == 5
    assert max(held) > 1
    assert world.value("SELECT count(*) FROM users WHERE refreshing_until IS NOT NULL") == 0


def test_fresh_tokens_are_kept_while_the_database_fails_briefly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra would no longer accept the old refresh token."""
    user_id = world.new_user("alice")
    _, before = _stored(world)
    sealed_tokens, failures = (
        token_refresh.sealed_tokens,
        [OperationalError("", {}, Exception())] * 2,
    )

    def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return sealed_tokens(*arguments)

    monkeypatch.setattr(token_refresh, "sealed_tokens", failing)
    world.runtime.user_tokens.refresh_now(user_id)
    assert _stored(world)[1] != before
    assert _refreshes(world) == 1


def test_the_lease_of_a_dead_process_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = world.new_user("alice")
    world.rows("UPDATE users SET refreshing_until = now() + interval '0.5 seconds'")
    world.runtime.user_tokens.refresh_now(user_id)
    assert _refreshes(world) == 1
    world.rows("UPDATE users SET refreshing_until = now() + interval '60 seconds'")
    monkeypatch.setattr(token_refresh, "WAIT_S", 0.1)
    with pytest.raises(PeerUnavailable):
        world.runtime.user_tokens.refresh_now(user_id)
    assert _refreshes(world) == 1


def test_a_failed_refresh_ends_its_lease(world: World) -> None:
    user_id = world.new_user("alice")
    world.hydra.fault(endpoint="/oauth2/token", times=1, status=503)
    with pytest.raises(PeerUnavailable):
        world.runtime.user_tokens.refresh_now(user_id)
    assert world.value("SELECT refreshing_until FROM users") is None


def test_a_refusal_of_our_credentials_is_mended_by_refreshing_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    user_id = world.new_user("alice")
    fault = {"status": 401, "body": {"error": "invalid_client", "error_description": "a-secret"}}
    world.hydra.fault(endpoint="/oauth2/token", times=1, **fault)
    world.hydra.control("expire", {"token": _stored(world)[0]})
    world.run_jobs()
    assert world.value("SELECT tokens_refused_at FROM users") is not None
    assert world.run_jobs() == 0
    assert "invalid_client" in caplog.text
    assert "a-secret" not in caplog.text
    world.runtime.user_tokens.refresh_now(user_id)
    assert world.value("SELECT tokens_refused_at FROM users") is None
    assert world.run_jobs() == 3


def test_a_sweep_ends_if_hydra_refuses_this_service(world: World) -> None:
    for number in range(3):
        world.new_user(f"user-{number}")
    body = {"error": "invalid_client"}
    world.hydra.fault(endpoint="/oauth2/token", times=None, status=401, body=body)
    assert world.runtime.user_tokens.refresh_due() == 0
    assert world.value("SELECT count(*) FROM users WHERE tokens_refused_at IS NOT NULL") == 1


@pytest.mark.parametrize(("name", "limit"), [("UNAVAILABLE_TIMES", 1), ("UNAVAILABLE_FOR_S", 0.0)])
def test_a_sweep_ends_if_hydra_is_out_of_reach(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, limit: float
) -> None:
    for number in range(3):
        world.new_user(f"user-{number}")
    monkeypatch.setattr(tokens, name, limit)
    world.hydra.fault(endpoint="/oauth2/token", times=None, cut="before")
    assert world.runtime.user_tokens.refresh_due() == 0
    assert _refreshes(world) == 1
    world.hydra.clear_faults()
    assert world.runtime.user_tokens.refresh_due() == 3


def test_login_during_a_refresh_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = world.new_user("alice")
    refresh = HydraClient.refresh

    def slow(client: HydraClient, token: str) -> Any:
        fresh = refresh(client, token)
        world.new_user("alice")
        return fresh

    monkeypatch.setattr(HydraClient, "refresh", slow)
    world.runtime.user_tokens.refresh_now(user_id)
    monkeypatch.undo()
    # The login's refresh token is stored, and works.
    world.runtime.user_tokens.refresh_now(user_id)


def test_disabling_during_a_refresh_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = world.new_user("alice")
    refresh = HydraClient.refresh

    def slow(client: HydraClient, token: str) -> Any:
        users.disable(world.runtime.database, user_id)
        return refresh(client, token)

    monkeypatch.setattr(HydraClient, "refresh", slow)
    with pytest.raises(TokensSpent):
        world.runtime.user_tokens.refresh_now(user_id)
    assert world.rows("SELECT access_token, refresh_token FROM users") == [(None, None)]


def test_a_user_without_a_refresh_token_is_not_refreshed(world: World) -> None:
    user_id = world.new_user("alice")
    world.rows("UPDATE users SET refresh_token = NULL")
    assert world.runtime.user_tokens.refresh_due() == 0
    with pytest.raises(TokensSpent):
        world.runtime.user_tokens.with_user_token(user_id, _refusing_every_token())
    assert world.runtime.user_tokens.with_user_token(user_id, len) > 0


def _refusing_every_token() -> Any:
    """Return a call to a peer that refuses every access token."""

    def call(_token: str) -> None:
        raise PeerUnauthorized("DataHubService", "answered 401")

    return call


def test_an_error_of_hydra_reaches_the_caller(world: World) -> None:
    """Its text holds no token."""
    user_id = world.new_user("alice")
    world.hydra.fault(endpoint="/oauth2/token", times=1, cut="before")
    with pytest.raises(PeerUnavailable) as raised:
        world.runtime.user_tokens.with_user_token(user_id, _refusing_stored_token(world))
    assert isinstance(raised.value, PeerError)
    assert not any(token in str(raised.value) for token in _stored(world))
