"""Fixtures: one system for all tests of this folder, with its own database server and Redis."""

from collections.abc import Iterator

import pytest

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.fault_rounds import HARD_TIMES
from tests.support.live_system import LiveSystem, running_system


@pytest.fixture(scope="package")
def own_postgres() -> Iterator[ReplicatedPostgres]:
    """A server for these tests only; its committed data survives a crash of its processes."""
    with ReplicatedPostgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="package")
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server for these tests only."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="package")
def system(
    own_postgres: ReplicatedPostgres,
    own_valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LiveSystem]:
    """The shared system; each test must repair what it breaks."""
    uri = own_postgres.create_database("faults")
    logs = tmp_path_factory.mktemp("faults")
    with running_system(uri, own_valkey, logs, HARD_TIMES) as running:
        yield running


@pytest.fixture(autouse=True)
def no_fault_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clear all faults of peers after each test, even if it failed."""
    yield
    if "system" in request.fixturenames:
        request.getfixturevalue("system").clear_faults()
