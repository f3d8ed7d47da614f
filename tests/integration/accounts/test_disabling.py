"""Disabling an account. example-backend calls it twice in one callback."""

import pytest

from tests.support.world import World, at_once

DONE = (200, {"success": True})


def disable(world: World, token: str) -> tuple[int, object]:
    answer = world.post("/auth/disable-user", token=token)
    return answer.status_code, answer.json


def test_disabling_twice_is_no_failure(world: World) -> None:
    world.new_user("alice")
    token = world.token("alice")
    assert disable(world, token) == DONE
    disabled_at = world.value("SELECT disabled_at FROM users")
    assert disable(world, token) == DONE
    assert world.value("SELECT disabled_at FROM users") == disabled_at
    # Every other call is rejected.
    assert world.post("/accounts", token=token).status_code == 401


def test_disabling_twice_at_once_is_no_failure(world: World) -> None:
    world.new_user("alice")
    token = world.token("alice")
    assert at_once(*[lambda: disable(world, token)] * 4) == [DONE] * 4
    assert world.value("SELECT count(disabled_at) FROM users") == 1


def test_disabling_succeeds_without_an_account(world: World) -> None:
    assert disable(world, world.token("nobody")) == DONE
    assert world.value("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(("scope", "status"), [("openid", 403), ("profile", 200)])
def test_the_scope_is_needed_even_without_an_account(world: World, scope: str, status: int) -> None:
    assert disable(world, world.token("nobody", scope))[0] == status


def test_an_invalid_token_disables_nobody(world: World) -> None:
    world.new_user("alice")
    assert world.post("/auth/disable-user").status_code == 401
    assert disable(world, "unknown")[0] == 401
    assert disable(world, world.token("alice", expires_in=-10))[0] == 401
    assert world.value("SELECT count(disabled_at) FROM users") == 0
