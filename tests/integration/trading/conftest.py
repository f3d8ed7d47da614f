"""The sandbox, started once, and a market for each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack.configured import Postgres
from sandbox.running import Sandbox
from tests.integration.accounts.world import CLIENT_SECRET, PROJECT_URL, WEBHOOK_SECRET
from tests.integration.trading.drill import Drill
from tests.integration.trading.market import Market


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
def new_market(database_uri: str, sandbox: Sandbox) -> Iterator[Callable[..., Market]]:
    """Make a market with other settings."""
    sandbox.reset()
    made: list[Market] = []

    def make(**settings: Any) -> Market:
        made.append(Market(database_uri, sandbox, **settings))
        return made[-1]

    yield make
    for market in made:
        market.runtime.database.dispose()
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
