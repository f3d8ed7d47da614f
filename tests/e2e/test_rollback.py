"""This release's code on the database of the next release: a rollback that needs no restore."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.configured import Postgres, Redis
from devstack.processes import ROOT
from tests.support.database import rows
from tests.support.live_system import LiveSystem, running_system
from tests.support.next_release import migrate_as_next_release

_WARNING = "A later version of the service has migrated the database; this version works with it"


@pytest.fixture
def newer_uri(postgres: Postgres, tmp_path: Path) -> Iterator[str]:
    """A database that the next release has migrated."""
    name = "test_rollback"
    postgres.drop_database(name)
    uri = postgres.create_database(name)
    migrate_as_next_release(uri, tmp_path)
    yield uri
    postgres.drop_database(name)


def test_the_previous_release_runs_on_the_schema_of_the_next(
    newer_uri: str, valkey: Redis, tmp_path: Path
):
    """All three processes start with a warning, and a user trades; the ledger agrees afterwards."""
    with running_system(newer_uri, valkey, tmp_path) as system:
        for process in system.services.all:
            assert _WARNING in process.log.read_text()
        anna, bo = system.households("anna", "bo")
        ggo = system.issue(anna, 0, 100)
        system.publish_consumption(anna, 0, 100)
        assert anna.compose(ggo, transfers=[(40, bo)], retires=[30]).status_code == 200
        system.settle_and_audit()
        assert system.batch_states(ggo) == ["COMPLETED"]
        assert [each["amount"] for each in bo.stored()] == [40]
        listed = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "origin.app:create_app()", "users", "list"],
            env={**system.stack.environment, "PYTHONPATH": f"{ROOT}/src"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert anna.subject in listed.stdout
        [row] = system.rows("SELECT DISTINCT later, later_count FROM ggos")
        assert (row["later"], row["later_count"]) == (None, 7)


def test_a_release_that_is_too_old_refuses_in_one_line(
    system: LiveSystem, empty_database_uri: str, tmp_path: Path
):
    migrate_as_next_release(empty_database_uri, tmp_path, usable_from="9999")
    before = rows(empty_database_uri, "SELECT * FROM alembic_version")
    ended = subprocess.run(
        [ROOT / "entrypoint.web.sh"],
        env={**system.stack.environment, "DATABASE_URI": empty_database_uri},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "this version is too old for it" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert rows(empty_database_uri, "SELECT * FROM alembic_version") == before
