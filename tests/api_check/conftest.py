"""Fixtures of `make api-check`: the packages from npm, and a running service with a user's GGO."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devstack.client import Browser
from devstack.configured import Postgres, Redis
from tests.integration.oidc.packages import installed_packages
from tests.support.live_system import Household, LiveSystem, running_system

_SOURCES = Path(__file__).parent
_DATABASE = "test_api_check"
AMOUNT = 1000


@pytest.fixture(scope="session")
def packages() -> Path:
    """Return the folder with the locked packages from npm."""
    return installed_packages(_SOURCES, "api-check")


@pytest.fixture(scope="session")
def system(
    postgres: Postgres, valkey: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSystem]:
    """A running system."""
    postgres.drop_database(_DATABASE)
    uri = postgres.create_database(_DATABASE)
    with running_system(uri, valkey, tmp_path_factory.mktemp("api-check")) as running:
        yield running
    postgres.drop_database(_DATABASE)


@pytest.fixture
def anna(system: LiveSystem) -> Household:
    """A user with one GGO of `AMOUNT` Wh. There is a user bo, too."""
    with closing(Browser()) as browser:
        browser.log_in(system.stack.url, "bo", f"{system.stack.url}/home")
    home = system.household("anna")
    system.issue(home, 0, AMOUNT)
    return home
