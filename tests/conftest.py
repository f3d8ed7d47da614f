"""Servers and databases for all tests: those that the environment names, else embedded ones."""

import itertools
import os
from collections.abc import Iterator

import pytest

from devstack.configured import Postgres, Redis, postgres_server, redis_server
from origin.migrate import upgrade

_numbers = itertools.count()


def _scratch_name(kind: str) -> str:
    # The process id keeps two runs apart that share a configured server.
    return f"test_{kind}_{os.getpid()}_{next(_numbers)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; `create_database` and `drop_database` on it."""
    with postgres_server(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Redis]:
    """A Redis server with host, port, username, password and flush()."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> Iterator[str]:
    """The name of a database at the newest schema, to be copied and never used."""
    name = _scratch_name("template")
    upgrade(postgres.create_database(name))
    yield name
    postgres.drop_database(name)


@pytest.fixture
def empty_database_uri(postgres: Postgres) -> Iterator[str]:
    """A fresh database with nothing in it, for this test alone."""
    name = _scratch_name("empty")
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def database_uri(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """A fresh database at the newest schema, for this test alone."""
    name = _scratch_name("function")
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def module_database_uri(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """A fresh database at the newest schema, shared by the tests of one module."""
    name = _scratch_name("module")
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)
