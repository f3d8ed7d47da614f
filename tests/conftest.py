"""Servers and databases for all tests: those that the environment names, else embedded ones."""

import itertools
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from devstack.configured import Postgres, Redis, postgres_server, redis_server

# A time limit for each example would fail tests on a busy machine. pytest-timeout bounds the whole test.
hypothesis.settings.register_profile("origin", deadline=None)
hypothesis.settings.load_profile("origin")

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
    # Imported here: Alembic takes time to load, and unit tests don't use it.
    from origin.migrate import upgrade

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


class _FolderTogether(LoadScopeScheduling):
    """Hands out files; a folder whose tests share running processes goes to one worker as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        for folder in ("tests/e2e", "tests/faults", "tests/docs"):
            if nodeid.startswith(folder + "/"):
                return folder
        return nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _FolderTogether:
    """How `-n` divides the tests: the slow folders first, one for each worker."""
    return _FolderTogether(config, log)
