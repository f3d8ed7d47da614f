"""What integration tests share: the sandbox, a service with its peers, a market, a web."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack.configured import Postgres
from origin.db.models import Base
from sandbox.running import Sandbox
from tests.support.drill import Drill
from tests.support.market import Market
from tests.support.served import Web, running_web
from tests.support.world import CLIENT_SECRET, PROJECT_URL, WEBHOOK_SECRET, Peer, World


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
        empty(world)
        world.close()
    # Lets go of calls that a fault holds.
    peers.reset()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    """A service as it is by default."""
    return new_world()


_NO_ROWS = "; ".join(f"DELETE FROM {table}" for table in reversed(Base.metadata.sorted_tables))  # noqa: S608


_FIRST_IDS = (
    "SELECT setval(sequencename::regclass, start_value, false) FROM pg_sequences "
    "WHERE last_value IS NOT NULL"
)


def empty(world: World) -> None:
    """Leave no rows, and let ids begin anew: faster than a database for each test."""
    with world.runtime.database.transaction() as session:
        session.connection().exec_driver_sql(f"{_NO_ROWS}; {_FIRST_IDS}")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(
        redirect_uris=[f"{PROJECT_URL}/auth/login/callback"],
        client_secret=CLIENT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        block_time=0.01,
    ) as running:
        yield running


@pytest.fixture
def market_database_uri(request: pytest.FixtureRequest, module_database_uri: str) -> str:
    """The database of markets: the module's, or this test's own if the test asks for `database_uri`."""
    if "database_uri" in request.fixturenames:
        return str(request.getfixturevalue("database_uri"))
    return module_database_uri


@pytest.fixture
def new_market(market_database_uri: str, sandbox: Sandbox) -> Iterator[Callable[..., Market]]:
    """Make a market with other settings."""
    sandbox.reset()
    made: list[Market] = []

    def make(**settings: Any) -> Market:
        made.append(Market(market_database_uri, sandbox, **settings))
        return made[-1]

    yield make
    for market in made:
        empty(market)
        market.close()
    sandbox.reset()


@pytest.fixture
def market(new_market: Callable[..., Market]) -> Market:
    """A market with the settings as they are by default."""
    return new_market()


@pytest.fixture
def drill(market: Market, postgres: Postgres) -> Iterator[Drill]:
    """A market with a third user, Carol, that can be backed up once."""
    market.new_user("carol")
    while market.run_jobs():
        pass
    market.tokens["carol"] = market.token("carol")
    made = Drill(market, postgres)
    yield made
    market.runtime.database.dispose()
    postgres.drop_database(made.backup_name)


@pytest.fixture(scope="module")
def web(module_database_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web with the defaults, in one process."""
    with running_web(module_database_uri, tmp_path_factory.mktemp("web")) as running:
        yield running
