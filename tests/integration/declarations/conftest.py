"""One market per module of tests of declarations."""

from collections.abc import Iterator

import pytest

from sandbox.running import Sandbox
from tests.integration.declarations.consumer import Consumer
from tests.support.world import CLIENT_SECRET, PROJECT_URL, WEBHOOK_SECRET


@pytest.fixture(scope="module")
def shared(module_database_uri: str) -> Iterator[Consumer]:
    with Sandbox(
        redirect_uris=[f"{PROJECT_URL}/auth/login/callback"],
        client_secret=CLIENT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        block_time=0.01,
    ) as sandbox:
        consumer = Consumer(
            module_database_uri, sandbox, energy_type_service_url=sandbox.urls["energytype"]
        )
        consumer.runtime.technologies.import_all()
        yield consumer
        consumer.runtime.database.dispose()


@pytest.fixture
def consumer(shared: Consumer) -> Iterator[Consumer]:
    """The market, without faults of peers and with a generated residual mix at the begin of a test."""
    yield shared
    shared.sandbox.energytype.reset()
    shared.sandbox.datahub.clear_faults()
