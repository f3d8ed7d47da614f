"""Migrations: up and down again, the same as the models, and safe when many start at once."""

import os
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from origin.db.models import Base
from origin.migrate import alembic_config, upgrade


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
