"""Migrations can be reversed, equal the models, and may start in several processes at once."""

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
"""The lock key of migrations/env.py."""


def engine_of(uri: str) -> Engine:
    return create_engine(make_url(uri).set(drivername="postgresql+psycopg2"))


def differences(uri: str) -> list[object]:
    """Return the differences between the models and the database."""
    engine = engine_of(uri)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": True}
        )
        found = compare_metadata(context, Base.metadata)
    engine.dispose()
    return list(found)


def check_constraints(uri: str) -> dict[str, set[str]]:
    """Return the names of CHECK constraints by table, which Alembic doesn't compare."""
    engine = engine_of(uri)
    inspector = inspect(engine)
    found = {
        table: {str(each["name"]) for each in inspector.get_check_constraints(table)}
        for table in Base.metadata.tables
    }
    engine.dispose()
    return found


def test_migrations_produce_the_models_tables(database_uri: str):
    assert differences(database_uri) == []


def test_check_constraints_equal_the_models(database_uri: str, empty_database_uri: str):
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
    """Building an index waits for writers of `forecasts`. Writers of GGOs and batches wait for neither."""
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


def test_a_migration_retries_after_a_deadlock(empty_database_uri: str):
    """A migration locks GGOs, then batches. Other transactions may lock in the other order."""
    command.upgrade(alembic_config(empty_database_uri), "0005")
    engine = engine_of(empty_database_uri)
    with engine.connect() as writer, engine.connect() as other, ThreadPoolExecutor() as pool:
        # PostgreSQL must not choose the writer as the victim.
        writer.execute(text("SET deadlock_timeout = '1min'"))
        writer.execute(text("LOCK TABLE batches IN ROW EXCLUSIVE MODE"))
        migrating = pool.submit(upgrade, empty_database_uri)
        eventually(lambda: waits_for_a_lock(other), "the migration waits for the writer")
        writer.execute(text("LOCK TABLE ggos IN ROW EXCLUSIVE MODE"))
        writer.rollback()
        migrating.result(60)
    assert differences(empty_database_uri) == []
    engine.dispose()


def test_a_waiting_process_of_the_previous_version_blocks_nothing(
    empty_database_uri: str,
):
    """It waits in a statement, and the index build waits for that statement's snapshot: a deadlock."""
    command.upgrade(alembic_config(empty_database_uri), "0007")
    engine = engine_of(empty_database_uri)

    def wait_as_before() -> None:
        with engine.connect() as connection:
            # PostgreSQL must not choose this one as the victim; its container would just restart.
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
    """Return whether anybody waits for a lock of this kind in this database."""
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


@pytest.mark.parametrize("revision", ["0006", "0007", "0008", "0017"])
def test_an_interrupted_migration_is_repeated(empty_database_uri: str, revision: str):
    """It was interrupted before it stored its revision."""
    upgrade(empty_database_uri)
    before = f"{int(revision) - 1:04}"
    command.downgrade(alembic_config(empty_database_uri), revision)
    if revision == "0008":
        # Statements in the same transaction as the revision were rolled back.
        engine = engine_of(empty_database_uri)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE early_subscriptions"))
        engine.dispose()
    command.stamp(alembic_config(empty_database_uri), before)
    upgrade(empty_database_uri)
    assert differences(empty_database_uri) == []


def test_five_processes_may_start_at_once(empty_database_uri: str):
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
def test_constraints_reject_impossible_ggos(database_uri: str, change: str):
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


def test_a_database_of_a_later_version_is_reported_in_one_line(empty_database_uri: str):
    upgrade(empty_database_uri)
    engine = engine_of(empty_database_uri)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE schema_compatibility SET usable_from = '9999'"))
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
