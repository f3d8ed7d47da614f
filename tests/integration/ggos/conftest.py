"""One service per module. Each test writes its own GGOs."""

from collections.abc import Iterator

import pytest

from sandbox.running import Sandbox
from tests.support.books import Books
from tests.support.world import CLIENT_SECRET, PROJECT_URL, WEBHOOK_SECRET, Peer, World


@pytest.fixture(scope="module")
def books(module_database_uri: str) -> Iterator[Books]:
    with Sandbox(
        redirect_uris=[f"{PROJECT_URL}/auth/login/callback"],
        client_secret=CLIENT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
    ) as sandbox:
        hydra, datahub = Peer(sandbox.urls["hydra"]), Peer(sandbox.urls["datahub"])
        world = World(module_database_uri, hydra, datahub)
        books = Books(world)
        books.prepare()
        yield books
        world.runtime.database.dispose()
