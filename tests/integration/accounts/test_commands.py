"""The operators' commands, on a database with users in it."""

from collections.abc import Callable

import pytest

from origin.services import key_rotation
from tests.integration.accounts.world import World

GSRN = "571313180400000012"


def run(world: World, *command: str, status: int = 0) -> str:
    result = world.app.test_cli_runner().invoke(args=list(command))
    assert result.exit_code == status, result.output
    return result.output


def test_help_shows_the_groups(world: World):
    text = run(world, "--help")
    for group in ("users", "metering-points", "tokens", "keys"):
        assert f"  {group} " in text


def test_users_are_listed_shown_and_disabled(world: World):
    world.new_user("alice")
    world.point("alice", GSRN)
    assert "alice    active" in run(world, "users", "list")
    shown = run(world, "users", "show", "alice")
    assert GSRN in shown
    assert "send_key" in shown
    assert "Disabled." in run(world, "users", "disable", "alice", "--yes")
    assert "before" in run(world, "users", "disable", "alice", "--yes")
    assert "alice    disabled" in run(world, "users", "list")
    assert world.post("/accounts", None, world.token("alice", "profile")).status_code == 401


@pytest.mark.parametrize(
    "command",
    [
        ("users", "show"),
        ("users", "disable", "--yes"),
        ("metering-points", "import"),
        ("metering-points", "resend-keys"),
        ("tokens", "refresh"),
    ],
)
def test_an_unknown_subject_is_told(world: World, command: tuple[str, ...]):
    assert "No account has the subject nobody" in run(world, *command, "nobody", status=1)


def test_keys_are_sent_again(world: World):
    world.new_user("alice")
    world.datahub.control(
        "meteringpoints",
        {
            "meteringpoints": [
                {"sub": "alice", "gsrn": GSRN, "type": "production", "sector": "DK1"}
            ],
            "webhooks": "none",
        },
    )
    run(world, "metering-points", "import", "alice")
    while world.run_jobs():
        pass
    calls = world.datahub.call_count("/meteringpoints/set-key")
    assert "send 1 keys" in run(world, "metering-points", "resend-keys", "alice")
    world.run_jobs()
    assert world.datahub.call_count("/meteringpoints/set-key") == calls + 1


def test_tokens_are_renewed(world: World):
    world.new_user("alice")
    before = world.value("SELECT access_token FROM users")
    assert "Renewed." in run(world, "tokens", "refresh", "alice")
    assert world.value("SELECT access_token FROM users") != before
    assert "1 users have fresh tokens" in run(world, "tokens", "refresh")


def test_rotation_moves_everything_to_the_new_secret(new_world: Callable[..., World]):
    """It can be stopped and begun again; meanwhile and afterwards all works."""
    old = new_world(key_encryption_secrets="old")
    for subject in ("alice", "bob", "carol"):
        old.new_user(subject)
    both = new_world(key_encryption_secrets="new,old")
    assert "3 users" in run(both, "keys", "status")
    first = key_rotation.rotate(both.runtime)
    assert next(first).total == 3
    assert "0 users left" in run(both, "keys", "rotate")
    assert "0 users" in run(both, "keys", "status")
    only_new = new_world(key_encryption_secrets="new")
    only_new.point("alice", GSRN)
    run(only_new, "tokens", "refresh", "alice")
    assert only_new.run_jobs()
    with pytest.raises(AssertionError):
        run(new_world(key_encryption_secrets="old"), "tokens", "refresh", "alice")


def test_rotation_leaves_what_no_secret_opens_and_says_so(new_world: Callable[..., World]):
    new_world(key_encryption_secrets="old").new_user("alice")
    lost = new_world(key_encryption_secrets="new")
    before = lost.rows("SELECT * FROM users")
    assert "1 users open with none" in run(lost, "keys", "rotate", status=1)
    assert lost.rows("SELECT * FROM users") == before
