"""The doctor's checks of PostgreSQL find what is wrong with real servers and databases."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from devstack.configured import Postgres
from devstack.ports import free_port
from origin.db import clock_watch
from origin.doctor.rules import Level
from tests.integration.doctor.conftest import NewRuntime, findings, only

OF_THE_DATABASE = (
    "database",
    "database settings",
    "schema",
    "database role",
    "database connections",
    "database clock",
)


def executed(uri: str, *statements: str) -> None:
    """Execute each statement by itself."""
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)


@pytest.fixture
def other_encoding(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of another encoding."""
    name = f"test_{uuid.uuid4().hex}"
    executed(
        postgres.uri,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' "
        "LOCALE_PROVIDER libc LOCALE 'C'",
    )
    yield make_url(postgres.uri).set(database=name).render_as_string(hide_password=False)
    postgres.drop_database(name)


@pytest.fixture
def modest_uri(postgres: Postgres, database_uri: str) -> Iterator[str]:
    """The URI of a role that may connect, and nothing else."""
    name = f"modest_{uuid.uuid4().hex[:8]}"
    executed(postgres.uri, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    yield (
        make_url(database_uri)
        .set(username=name, password=name)
        .render_as_string(hide_password=False)
    )
    executed(database_uri, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_good_database_is_well(new_runtime: NewRuntime):
    found = findings(new_runtime(), *OF_THE_DATABASE)
    assert tuple(found) == OF_THE_DATABASE
    # The tests' server may lose commits in a crash: it is faster so.
    settings = found.pop("database settings")
    assert settings.level in {Level.OK, Level.WARN}
    assert {each.level for each in found.values()} == {Level.OK}, found


def test_without_the_database_all_else_is_still_told(new_runtime: NewRuntime):
    away = f"postgresql://someone:hidden@127.0.0.1:{free_port()}/nothing"
    found = findings(new_runtime(database_uri=away))
    assert found["database"].level is Level.FAIL
    assert "Check DATABASE_URI" in found["database"].text
    assert "hidden" not in str(found)
    needs_it = (*OF_THE_DATABASE[1:], "secrets", "processes", "ledger state", "reconciliation")
    for name in needs_it:
        assert found[name].text == "Not checked: the database can't be reached."
    for name in ("redis", "hydra", "datahub", "energy types", "ledger"):
        assert found[name].level is Level.OK


def test_a_wrong_password_is_told_without_it(new_runtime: NewRuntime, modest_uri: str):
    wrong = make_url(modest_uri).set(password="not-this-one")
    found = only(new_runtime(database_uri=wrong.render_as_string(hide_password=False)), "database")
    assert found.level is Level.FAIL
    assert str(wrong.username) in found.text
    assert "not-this-one" not in found.text


@pytest.mark.parametrize("other_encoding", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_a_database_of_another_encoding_fails(
    new_runtime: NewRuntime, other_encoding: str, request: pytest.FixtureRequest
):
    found = findings(new_runtime(database_uri=other_encoding), "database settings", "schema")
    encoding = request.node.callspec.params["other_encoding"]
    assert found["database settings"].level is Level.FAIL
    assert f"server_encoding is {encoding}; UTF8 is needed" in found["database settings"].text
    assert found["schema"].level is Level.FAIL
    assert "no tables" in found["schema"].text


@pytest.mark.parametrize(
    ("revision", "usable_from", "level", "said"),
    [
        ("0013", "0013", Level.FAIL, "It is at migration 0013; "),
        ("9999", "9999", Level.FAIL, "this version is too old"),
        ("9999", "0015", Level.WARN, "this version works with it"),
    ],
)
def test_a_schema_of_another_version_is_told(
    new_runtime: NewRuntime,
    database_uri: str,
    revision: str,
    usable_from: str,
    level: Level,
    said: str,
):
    executed(
        database_uri,
        f"UPDATE alembic_version SET version_num = '{revision}'",  # noqa: S608
        f"UPDATE schema_compatibility SET usable_from = '{usable_from}'",  # noqa: S608
    )
    found = only(new_runtime(database_uri=database_uri), "schema")
    assert found.level is level
    assert said in found.text


def test_a_role_without_rights_fails(new_runtime: NewRuntime, database_uri: str, modest_uri: str):
    name = make_url(modest_uri).username
    runtime = new_runtime(database_uri=modest_uri)
    found = only(runtime, "database role")
    assert found.level is Level.FAIL
    assert f"{name} may not read and write" in found.text
    executed(database_uri, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    found = only(runtime, "database role")
    assert found.level is Level.WARN
    assert "another role must migrate" in found.text
    executed(database_uri, f"GRANT CREATE ON SCHEMA public TO {name}")
    assert "the owner must migrate" in only(runtime, "database role").text


def test_a_server_that_takes_no_writes_fails(new_runtime: NewRuntime, database_uri: str):
    name = make_url(database_uri).database
    executed(database_uri, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    found = only(new_runtime(database_uri=database_uri), "database")
    assert found.level is Level.FAIL
    assert "takes no writes" in found.text


def test_another_clock_is_told(new_runtime: NewRuntime, monkeypatch: pytest.MonkeyPatch):
    runtime, ahead_s = new_runtime(), 0.0
    machine_time = clock_watch.time.time

    class Clock:
        monotonic = staticmethod(clock_watch.time.monotonic)

        @staticmethod
        def time() -> float:
            return machine_time() + ahead_s

    monkeypatch.setattr(clock_watch, "time", Clock)
    for ahead_s, level in ((12.0, Level.WARN), (-62.0, Level.FAIL)):
        found: Any = only(runtime, "database clock")
        assert found.level is level
        assert ("ahead of" if ahead_s > 0 else "behind") in found.text
        assert "NTP" in found.text


def test_connections_of_other_roles_are_counted(
    new_runtime: NewRuntime, database_uri: str, modest_uri: str
):
    """Details of other roles' connections are hidden from a role like the service's."""
    runtime = new_runtime(database_uri=modest_uri)
    with ExitStack() as others:
        for _ in range(10):
            others.enter_context(closing(psycopg2.connect(database_uri)))
        found = only(runtime, "database connections")
    assert int(found.text.split()[0]) > 10


def test_used_up_connections_are_told(new_runtime: NewRuntime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("origin.doctor.service.database.CONNECTIONS_WARNING", 0.0)
    assert only(new_runtime(), "database connections").level is Level.WARN
