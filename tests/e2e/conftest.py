"""One town for all tests of this folder; each brings its own households."""

from collections.abc import Iterator

import pytest

from devstack.configured import Postgres, Redis
from tests.support.town import Town, running_town

_DATABASE = "test_e2e"


@pytest.fixture(scope="package")
def town(
    postgres: Postgres, valkey: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A town whose three processes started at once, on a database with nothing in it."""
    postgres.drop_database(_DATABASE)
    uri = postgres.create_database(_DATABASE)
    with running_town(uri, valkey, tmp_path_factory.mktemp("e2e")) as running:
        yield running
    postgres.drop_database(_DATABASE)
