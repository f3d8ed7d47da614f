"""Operators' commands, on a database with users."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic.script import ScriptDirectory

from devstack.processes import ROOT
from origin.app import create_app
from origin.settings import Settings
from origin.shared.release import VERSION
from tests.support.world import World

GSRN = "571313180400000012"


def run(world: World, *command: str, status: int = 0) -> str:
    result = world.app.test_cli_runner().invoke(args=list(command))
    assert result.exit_code == status, result.output
    return result.output


COMMANDS = {
    "users": ("list", "show", "disable", "resubscribe"),
    "metering-points": ("import", "resend-keys"),
    "tokens": ("refresh",),
    "keys": ("status", "rotate", "forget-lost"),
}


@pytest.mark.parametrize("group", COMMANDS)
def test_help_explains_each_command_by_group(world: World, group: str):
    explained = re.compile(r"^  ([a-z-]+) +[A-Z].{15,}", re.MULTILINE)
    assert group in explained.findall(run(world, "--help"))
    assert set(COMMANDS[group]) <= set(explained.findall(run(world, group, "--help")))


def test_flask_finds_the_commands(world: World):
    """Run as `pipenv run flask --help`."""
    environment = {**os.environ, **world.environment(), "PYTHONPATH": "src"}
    # The settings of tests are warned of.
    environment |= {"LOG_LEVEL": "ERROR"}
    command_line = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
    done = subprocess.run(
        [*command_line, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    for group in COMMANDS:
        assert f"\n  {group} " in done.stdout
    away = environment | {"DATABASE_URI": "postgresql://a:secret@127.0.0.1:9/b"}
    done = subprocess.run(
        [*command_line, "users", "list"], env=away, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "Error: The database is out of reach.\n")


def test_version_tells_what_runs(world: World):
    told = json.loads(run(world, "version", "--json"))
    migrations = ScriptDirectory(str(ROOT / "src/migrations"))
    assert told == {
        "version": VERSION,
        "revision": None,
        "python": platform.python_version(),
        "schema": migrations.get_current_head(),
    }
    assert run(world, "version").splitlines()[0].split() == ["ACCOUNTSERVICE", VERSION]


def test_log_lines_stay_out_of_json(world: World):
    environment = {**os.environ, **world.environment(), "PYTHONPATH": "src", "TLS_VERIFY": "0"}
    command_line = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
    done = subprocess.run(
        [*command_line, "version", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["version"] == VERSION
    assert "TLS_VERIFY=0" in done.stderr


def test_an_unmigrated_database_is_reported_in_one_line(
    new_world: Callable[..., World], empty_database_uri: str
):
    world = new_world()
    app = create_app(Settings.of({**vars(world.settings), "database_uri": empty_database_uri}))
    result = app.test_cli_runner().invoke(args=["users", "list"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: The database isn't as it should be (UndefinedTable)")


@pytest.mark.parametrize(
    "command",
    [
        ("users", "resubscribe"),
        ("metering-points", "import"),
        ("metering-points", "resend-keys"),
        ("tokens", "refresh"),
    ],
)
def test_commands_do_nothing_for_a_disabled_user(world: World, command: tuple[str, ...]):
    world.new_user("alice")
    run(world, "users", "disable", "alice", "--yes")
    assert "The account of alice is disabled" in run(world, *command, "alice", status=1)
    if command[0] != "tokens":
        assert " 0 " in run(world, *command, "--all")
        assert "Give a SUBJECT, or --all." in run(world, *command, status=2)
        run(world, *command, "alice", "--all", status=2)
    assert world.rows("SELECT * FROM datahub_jobs") == []


def test_resubscribing_fetches_what_was_missed(new_world: Callable[..., World]):
    world = new_world()
    for subject in ("alice", "bob"):
        world.new_user(subject)
    world.run_jobs()
    point = {"sub": "alice", "gsrn": GSRN, "type": "production", "sector": "DK1"}
    codes = {"technologyCode": "T010000", "fuelCode": "F01040100"}
    point |= codes
    world.datahub.control("meteringpoints", {"meteringpoints": [point], "webhooks": "none"})
    moved = new_world(project_url="http://moved.example", webhook_secret="another")
    assert "for 2 users" in run(moved, "users", "resubscribe", "--all")
    while moved.run_jobs():
        pass
    urls = {
        each["url"]
        for each in world.datahub.control("subscriptions", method="GET")["subscriptions"]
        if each["url"].startswith("http://moved.example/")
    }
    assert len(urls) == 2
    assert world.rows("SELECT gsrn FROM metering_points") == [(GSRN,)]
    issued = [{"gsrn": GSRN, "begin": "2020-01-01T00:00:00Z", "amount": 1}]
    world.datahub.control("ggos", {"ggos": issued, "webhooks": "none", "ledger": False})
    run(moved, "users", "resubscribe", "alice")
    while moved.run_jobs():
        pass
    assert len(moved.listed("alice")) == 1


def test_refused_tokens_are_refreshed_on_demand(world: World):
    for subject in ("alice", "bob"):
        world.new_user(subject)
    world.rows("UPDATE users SET tokens_refused_at = now() WHERE subject = 'alice'")
    assert "1 users have fresh tokens" in run(world, "tokens", "refresh", "--refused")
    assert world.value("SELECT count(*) FROM users WHERE tokens_refused_at IS NOT NULL") == 0
    assert "0 users have fresh tokens" in run(world, "tokens", "refresh", "--refused")


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
def test_an_unknown_subject_is_reported(world: World, command: tuple[str, ...]):
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


def test_tokens_are_refreshed(world: World):
    world.new_user("alice")
    before = world.value("SELECT access_token FROM users")
    assert "Renewed." in run(world, "tokens", "refresh", "alice")
    assert world.value("SELECT access_token FROM users") != before
    assert "1 users have fresh tokens" in run(world, "tokens", "refresh")


def test_rotation_seals_everything_with_the_new_secret(new_world: Callable[..., World]):
    """It can be stopped and started again; everything works during and after it."""
    old = new_world(key_encryption_secrets="old")
    for subject in ("alice", "bob", "carol"):
        old.new_user(subject)
    both = new_world(key_encryption_secrets="new,old")
    assert "3 rows" in run(both, "keys", "status")
    first = both.runtime.key_rotation.rotate()
    assert next(first).total == 3
    assert "0 rows left" in run(both, "keys", "rotate")
    assert "0 rows" in run(both, "keys", "status")
    only_new = new_world(key_encryption_secrets="new")
    only_new.point("alice", GSRN)
    run(only_new, "tokens", "refresh", "alice")
    assert only_new.run_jobs()
    with pytest.raises(AssertionError):
        run(new_world(key_encryption_secrets="old"), "tokens", "refresh", "alice")


def test_rotation_reports_and_keeps_what_no_secret_opens(new_world: Callable[..., World]):
    new_world(key_encryption_secrets="old").new_user("alice")
    lost = new_world(key_encryption_secrets="new")
    before = lost.rows("SELECT * FROM users")
    assert "1 rows open with none" in run(lost, "keys", "rotate", status=1)
    assert lost.rows("SELECT * FROM users") == before
