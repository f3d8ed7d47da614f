"""Migrations: up and down again, the same as the models, and safe when many start at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from origin.db.models import Base
from origin.migrate import alembic_config, upgrade
from tests.support.waiting import eventually

LOCK_KEY = 5_713_131_804
"""That of migrations/env.py."""


def engine_of(uri: str) -> Engine:
    return create_engine(make_url(uri).set(drivername="postgresql+psycopg2"))


def differences(uri: str) -> list[object]:
    """What the models have and the database lacks, or the other way round."""
    engine = engine_of(uri)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": True}
        )
        found = compare_metadata(context, Base.metadata)
    engine.dispose()
    return list(found)


def check_constraints(uri: str) -> dict[str, set[str]]:
    """The names of the CHECK constraints by table, which Alembic doesn't compare."""
    engine = engine_of(uri)
    inspector = inspect(engine)
    found = {
        table: {str(each["name"]) for each in inspector.get_check_constraints(table)}
        for table in Base.metadata.tables
    }
    engine.dispose()
    return found


def test_migrations_make_what_the_models_say(database_uri: str):
    assert differences(database_uri) == []


def test_check_constraints_are_the_models(database_uri: str, empty_database_uri: str):
    engine = engine_of(empty_database_uri)
    Base.metadata.create_all(engine)
    engine.dispose()
    assert check_constraints(database_uri) == check_constraints(empty_database_uri)


def test_down_and_up_again(empty_database_uri: str):
    upgrade(empty_database_uri)
    command.downgrade(alembic_config(empty_database_uri), "base")
    engine = engine_of(empty_database_uri)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
    upgrade(empty_database_uri)
    assert differences(empty_database_uri) == []


def test_tables_stay_usable_while_a_migration_waits(empty_database_uri: str):
    """An index of `forecasts` waits for who writes there; GGOs and batches needn't wait for either."""
    command.upgrade(alembic_config(empty_database_uri), "0005")
    engine = engine_of(empty_database_uri)
    with engine.connect() as writer, engine.connect() as other, ThreadPoolExecutor() as pool:
        other.execute(text("SET lock_timeout = '1s'"))
        other.commit()
        writer.execute(text("LOCK TABLE forecasts IN ROW EXCLUSIVE MODE"))
        migrating = pool.submit(upgrade, empty_database_uri)
        try:
            eventually(lambda: waits_for_a_lock(other), "the index waits for the writer")
            for table in ("ggos", "batches"):
                other.execute(text(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE"))
                other.rollback()
        finally:
            writer.rollback()
        migrating.result(60)
    assert differences(empty_database_uri) == []
    engine.dispose()


def test_a_deadlock_with_others_is_tried_again(empty_database_uri: str):
    """A migration locks GGOs, then batches; others may come the other way round."""
    command.upgrade(alembic_config(empty_database_uri), "0005")
    engine = engine_of(empty_database_uri)
    with engine.connect() as writer, engine.connect() as other, ThreadPoolExecutor() as pool:
        # So that it isn't the writer who is ended.
        writer.execute(text("SET deadlock_timeout = '1min'"))
        writer.execute(text("LOCK TABLE batches IN ROW EXCLUSIVE MODE"))
        migrating = pool.submit(upgrade, empty_database_uri)
        eventually(lambda: waits_for_a_lock(other), "the migration waits for the writer")
        writer.execute(text("LOCK TABLE ggos IN ROW EXCLUSIVE MODE"))
        writer.rollback()
        migrating.result(60)
    assert differences(empty_database_uri) == []
    engine.dispose()


def test_a_process_of_the_version_before_that_waits_for_its_turn_stops_nothing(
    empty_database_uri: str,
):
    """It waits within a statement, whose snapshot the index waits for: a deadlock."""
    command.upgrade(alembic_config(empty_database_uri), "0007")
    engine = engine_of(empty_database_uri)

    def wait_as_before() -> None:
        with engine.connect() as connection:
            # So that it isn't this one that is ended; its container would just begin again.
            connection.execute(text("SET deadlock_timeout = '1min'"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
            connection.invalidate()

    with engine.connect() as writer, engine.connect() as other, ThreadPoolExecutor() as pool:
        writer.execute(text("LOCK TABLE forecasts IN ROW EXCLUSIVE MODE"))
        migrating = pool.submit(upgrade, empty_database_uri)
        eventually(lambda: waits_for_a_lock(other), "the index waits for the writer")
        before = pool.submit(wait_as_before)
        eventually(lambda: waits_for_a_lock(other, "advisory"), "the version before waits")
        writer.rollback()
        migrating.result(60)
        before.result(60)
    engine.dispose()
    assert differences(empty_database_uri) == []


def waits_for_a_lock(connection: Connection, event: str = "%") -> bool:
    """Whether anybody waits for a lock, of this kind, in this database."""
    found = connection.scalar(
        text(
            "SELECT EXISTS (SELECT FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND wait_event LIKE :event)"
        ),
        {"event": event},
    )
    connection.rollback()
    return bool(found)


@pytest.mark.parametrize("revision", ["0006", "0007", "0008"])
def test_a_migration_that_died_half_way_is_begun_anew(empty_database_uri: str, revision: str):
    """Its last statement, that which notes that it was done, has not come."""
    upgrade(empty_database_uri)
    before = f"{int(revision) - 1:04}"
    command.downgrade(alembic_config(empty_database_uri), revision)
    if revision == "0008":
        # What comes in one transaction with the note is gone with it.
        engine = engine_of(empty_database_uri)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE early_subscriptions"))
        engine.dispose()
    command.stamp(alembic_config(empty_database_uri), before)
    upgrade(empty_database_uri)
    assert differences(empty_database_uri) == []


def test_five_processes_that_start_at_once(empty_database_uri: str):
    environment = {**os.environ, "DATABASE_URI": empty_database_uri, "PYTHONPATH": "src"}
    command_line = [sys.executable, "-m", "origin.migrate"]
    processes = [subprocess.Popen(command_line, env=environment) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    assert differences(empty_database_uri) == []


@pytest.mark.parametrize(
    "change",
    [
        "stored = false, retired = true",
        "retired = true",
        "retire_gsrn = issue_gsrn",
        "amount = 0",
        '"end" = begin',
        "key_index = 1",
        "sender_id = owner_id",
        "spent_elsewhere = true",
        "spent_elsewhere = true, locked = true",
        "spent_elsewhere = true, stored = false",
    ],
)
def test_the_database_refuses_a_ggo_that_can_not_be(database_uri: str, change: str):
    engine = engine_of(database_uri)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (subject, master_key) VALUES ('a', 'x')"))
        connection.execute(
            text(
                "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
                "VALUES (1, 'g', 'production', 'DK1', 0)"
            )
        )
        connection.execute(
            text(
                'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, '
                "technology_code, fuel_code, issue_time, expire_time, issue_gsrn, stored) "
                "VALUES (1, 'a', 1, now(), now() + interval '1 hour', 'DK1', 't', 'f', now(), "
                "now(), 'g', true)"
            )
        )
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(f"UPDATE ggos SET {change}"))  # noqa: S608 - ours
    engine.dispose()


def test_a_database_of_a_later_version_is_told_in_one_line(empty_database_uri: str):
    upgrade(empty_database_uri)
    engine = engine_of(empty_database_uri)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    ended = subprocess.run(
        [sys.executable, "-m", "origin.migrate"],
        env={**os.environ, "DATABASE_URI": empty_database_uri, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "later version" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
