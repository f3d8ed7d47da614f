"""A service without peers, whose database is emptied after each test."""

from collections.abc import Iterator

import pytest

from origin.db.models import Base
from tests.support.adopting import service
from tests.support.world import World


@pytest.fixture(scope="module")
def module_world(module_database_uri: str) -> Iterator[World]:
    made = service(module_database_uri)
    yield made
    made.runtime.database.dispose()


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield module_world
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    module_world.rows(f"TRUNCATE {tables}")
    module_world.rows("DROP SCHEMA IF EXISTS original CASCADE")
