"""KEY_ENCRYPTION_SECRETS change step by step, while processes with different lists run."""

import re
from collections.abc import Callable
from unittest.mock import patch

import pytest
from sqlalchemy import text

from origin.db import process_secrets
from origin.errors import CannotRotate, ConfigurationError
from origin.keys import announcing
from origin.maintenance.queries import sealed_columns
from origin.maintenance.queries.sealed_columns import SEALED_COLUMNS
from origin.maintenance.service import secret_changes
from tests.support.world import World

Worlds = Callable[..., World]
OLD, NEW = "the old secret of some length", "the new secret of some length"


def run(world: World, *command: str, status: int = 0) -> str:
    result = world.app.test_cli_runner().invoke(args=list(command))
    assert result.exit_code == status, result.output
    return result.output


class Processes:
    """Processes, by the secrets in their environment."""

    def __init__(self, new_world: Worlds, *names: str) -> None:
        self._new_world = new_world
        self._names = names

    def with_secrets(self, *secrets: str) -> World:
        """Return a process that has not started."""
        return self._new_world(key_encryption_secrets=",".join(secrets))

    def restart(self, *secrets: str, names: tuple[str, ...] = ()) -> World:
        """Restart processes one after the other, as the entry points do."""
        world = self.with_secrets(*secrets)
        for name in names or self._names:
            world.runtime.secret_announcer.withdraw(name)
            world.runtime.secret_changes.check_start()
            world.runtime.secret_announcer.announce(name, name.split()[0])
        return world


@pytest.fixture
def processes(new_world: Worlds) -> Processes:
    return Processes(new_world, "web on a, process 1", "worker on b, process 2")


def test_a_rotation_by_the_recipe(processes: Processes):
    """Every step says what comes next; a step that comes too early is refused."""
    processes.restart(OLD).new_user("alice")
    command = processes.with_secrets(NEW, OLD)
    assert "Next: Add secret 1 at the end" in run(command, "keys", "status")
    said = run(command, "keys", "rotate", status=1)
    assert "don't know the first" in said
    assert "web on a, process 1; worker on b, process 2" in said
    with pytest.raises(ConfigurationError, match="unknown to running processes"):
        processes.restart(NEW, OLD, names=("beat on c, process 3",))
    processes.restart(OLD, NEW)
    assert "Next: Move secret 1 to the front" in run(command, "keys", "status")
    assert "still encrypt with another" in run(command, "keys", "rotate", status=1)
    processes.restart(NEW, OLD)
    assert "Next: Run `flask keys rotate`" in run(command, "keys", "status")
    with pytest.raises(ConfigurationError, match="lacks a secret that encrypts rows"):
        processes.restart(NEW)
    processes.restart(NEW, OLD)
    assert "0 rows left" in run(command, "keys", "rotate")
    assert "remove the old secret" in run(command, "keys", "status")
    processes.restart(NEW)
    assert run(processes.with_secrets(NEW), "keys", "status").endswith("Next: Nothing.\n")


def test_the_status_shows_processes_but_no_secret_and_nothing_to_guess_it_by(processes: Processes):
    world = processes.restart(OLD, NEW)
    said = run(processes.with_secrets(NEW), "keys", "status")
    [row] = [line for line in said.splitlines() if line.startswith("web on a, process 1")]
    # This command has NEW only. The process encrypts with OLD, and knows both.
    assert re.search(r"another +another, 1$", row)
    for secret in (OLD, NEW, *(each.split(".")[1] for each in world.runtime.sealer.prefixes)):
        assert secret not in said


def test_a_rotation_stops_when_a_process_with_other_secrets_starts(processes: Processes):
    processes.restart(OLD).new_user("alice")
    processes.restart(OLD, NEW)
    world = processes.restart(NEW, OLD)
    rotation = world.runtime.key_rotation.rotate()
    next(rotation)
    processes.with_secrets(OLD).runtime.secret_announcer.announce("web on z, process 9", "web")
    with pytest.raises(CannotRotate, match="web on z, process 9"):
        next(rotation)


def test_a_running_process_learns_that_another_encrypts_with_a_secret_it_lacks(
    processes: Processes,
):
    world = processes.restart(OLD)
    processes.with_secrets(NEW).runtime.secret_announcer.announce("web on z, process 9", "web")
    with patch.object(announcing.log, "error") as error:
        world.runtime.secret_announcer.announce("web on a, process 1", "web")
    error.assert_called_once()
    assert "web on z, process 9" in error.call_args.args


def test_a_process_that_is_silent_for_three_minutes_does_not_count(processes: Processes):
    world = processes.restart(OLD)
    world.rows("UPDATE process_secrets SET seen_at = now() - interval '2 minutes'")
    with pytest.raises(ConfigurationError):
        processes.restart(NEW, OLD, names=("beat on c, process 3",))
    world.rows("UPDATE process_secrets SET seen_at = now() - interval '181 seconds'")
    processes.restart(NEW, OLD, names=("beat on c, process 3",))


def test_a_lost_secret_stops_the_start_until_an_operator_declares_it_lost(
    processes: Processes,
):
    processes.restart(OLD).new_user("alice")
    processes.with_secrets(OLD).rows("DELETE FROM process_secrets")
    later = processes.with_secrets(NEW)
    with pytest.raises(ConfigurationError):
        later.runtime.secret_changes.check_start()
    assert "Next: Add the missing secret" in run(later, "keys", "status")
    assert "1 rows can't be read" in run(later, "keys", "forget-lost", "--yes")
    with patch.object(secret_changes.log, "warning") as warning:
        later.runtime.secret_changes.check_start()
    warning.assert_called_once()
    later.new_user("bob")
    with pytest.raises(ConfigurationError):
        processes.with_secrets("a third secret of some length").runtime.secret_changes.check_start()


def test_a_text_that_no_secret_sealed_does_not_stop_the_start(processes: Processes):
    world = processes.restart(OLD)
    world.new_user("alice")
    world.rows("UPDATE users SET access_token = 'damaged', refresh_token = 'v1.zzzzzzzz.x'")
    world.runtime.secret_changes.check_start()


def test_the_commands_that_encrypt_refuse_secrets_that_processes_lack(processes: Processes):
    processes.restart(OLD).new_user("alice")
    said = run(processes.with_secrets(NEW, OLD), "tokens", "refresh", "alice", status=1)
    assert "unknown to running processes" in said


def test_a_read_only_database_gets_no_announcement(processes: Processes):
    world = processes.with_secrets(OLD)
    with world.runtime.database.transaction() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        assert process_secrets.is_read_only(session)
    with world.runtime.database.transaction() as session:
        assert not process_secrets.is_read_only(session)


def test_the_secrets_that_rows_need_are_found_without_reading_the_rows(processes: Processes):
    """One look into an index for each secret, however many rows there are."""
    world = processes.restart(OLD)
    world.rows(
        "INSERT INTO users (subject, master_key) SELECT 'user ' || n, "
        "'v1.' || CASE WHEN n < 5 THEN '00000001' ELSE '00000002' END || '.' || repeat('x', 200) "
        "FROM generate_series(1, 2000) AS n"
    )
    world.rows("ANALYZE users")
    with world.runtime.database.reading() as session:
        assert sealed_columns.needed_prefixes(session) == {"v1.00000001.", "v1.00000002."}
        for columns in SEALED_COLUMNS.values():
            for column, _ in columns:
                query = sealed_columns._distinct_prefixes(column)
                plan = session.scalars(
                    text(
                        f"EXPLAIN {query.compile(session.bind, compile_kwargs={'literal_binds': True})}"
                    )
                ).all()
                if column.table.name == "users":
                    assert "Seq Scan" not in "\n".join(plan)
                    assert f"ix_users_{column.key}_sealed_by" in "\n".join(plan)
