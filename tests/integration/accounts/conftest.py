"""The sandbox's Hydra and DataHub, and a service for each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import delete

from origin.db.models import Base
from sandbox.running import Sandbox
from tests.integration.accounts.world import CLIENT_SECRET, PROJECT_URL, Peer, World


@pytest.fixture(scope="session")
def peers() -> Iterator[Sandbox]:
    with Sandbox(
        redirect_uris=[f"{PROJECT_URL}/auth/login/callback"], client_secret=CLIENT_SECRET
    ) as running:
        yield running


@pytest.fixture
def new_world(module_database_uri: str, peers: Sandbox) -> Iterator[Callable[..., World]]:
    """Make a service with other settings."""
    peers.reset()
    made: list[World] = []

    def make(**settings: Any) -> World:
        hydra, datahub = Peer(peers.urls["hydra"]), Peer(peers.urls["datahub"])
        made.append(World(module_database_uri, hydra, datahub, **settings))
        return made[-1]

    yield make
    for world in made:
        _empty(world)
        world.runtime.database.dispose()
    # Lets go of calls that a fault holds.
    peers.reset()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    """A service as it is by default."""
    return new_world()


def _empty(world: World) -> None:
    """Leave no rows: faster than a database for each test."""
    with world.runtime.database.transaction() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(delete(table))
