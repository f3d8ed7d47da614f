"""Fixtures: one system for all tests of this folder; each test creates its own households."""

from collections.abc import Iterator

import pytest

from devstack.configured import Postgres, Redis
from tests.support.live_system import LiveSystem, running_system

_DATABASE = "test_e2e"


@pytest.fixture(scope="package")
def system(
    postgres: Postgres, valkey: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSystem]:
    """A system whose three processes started at the same time, on an empty database."""
    postgres.drop_database(_DATABASE)
    uri = postgres.create_database(_DATABASE)
    with running_system(uri, valkey, tmp_path_factory.mktemp("e2e")) as running:
        yield running
    postgres.drop_database(_DATABASE)
