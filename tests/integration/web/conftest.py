"""One web for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.integration.accounts.conftest import new_world, peers, world
from tests.integration.web.served import Web, running_web

__all__ = ["new_world", "peers", "world"]


@pytest.fixture(scope="module")
def web(module_database_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web with the defaults, in one process."""
    with running_web(module_database_uri, tmp_path_factory.mktemp("web")) as running:
        yield running
