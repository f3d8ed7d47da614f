"""A doctor for the tests' servers, which runs the checks that a test names."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack.valkey import EmbeddedValkey
from origin.doctor.rules import Finding
from origin.doctor.service.doctor import Doctor
from origin.runtime import Runtime, build_runtime
from sandbox.running import Sandbox
from tests.support.example_settings import example_settings
from tests.support.world import CLIENT_SECRET, CountingWakeups

SECRET = "a long secret of this test alone"
NewRuntime = Callable[..., Runtime]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedValkey]:
    """A Redis whose configuration tests change."""
    with EmbeddedValkey() as server:
        yield server


def settings_of_servers(
    database_uri: str, sandbox: Sandbox, redis_server: EmbeddedValkey
) -> dict[str, Any]:
    """Return the settings that lead to the tests' servers, and have no weakness."""
    urls = sandbox.urls
    return {
        "database_uri": database_uri,
        "secret": SECRET,
        "webhook_secret": f"{SECRET} too",
        "hydra_url": urls["hydra"],
        "hydra_introspect_url": f"{urls['hydra']}/oauth2/introspect",
        "hydra_client_secret": CLIENT_SECRET,
        "datahub_service_url": urls["datahub"],
        "energy_type_service_url": urls["energytype"],
        "ledger_url": urls["ledger"],
        "redis_host": redis_server.host,
        "redis_port": redis_server.port,
        "redis_username": redis_server.username,
        "redis_password": redis_server.password,
        "debug": 0,
        "webhook_allow_private": 0,
    }


@pytest.fixture
def new_runtime(
    module_database_uri: str, sandbox: Sandbox, redis_server: EmbeddedValkey
) -> Iterator[NewRuntime]:
    """Make the objects of a process with other settings."""
    of_servers = settings_of_servers(module_database_uri, sandbox, redis_server)
    made: list[Runtime] = []

    def make(**changes: Any) -> Runtime:
        settings = example_settings(**{**of_servers, **changes})
        made.append(build_runtime(settings, CountingWakeups()))
        return made[-1]

    yield make
    for runtime in made:
        runtime.database.dispose()


def findings(runtime: Runtime, *checks: str) -> dict[str, Finding]:
    """Run these checks (all, if none is named), and return their findings by name."""
    doctor = runtime.doctor
    named = [each for each in doctor.checks if not checks or each.name in checks]
    return {each.check: each for each in Doctor(named).examine()}


def only(runtime: Runtime, check: str) -> Finding:
    """Run one check, and return its only finding."""
    [found] = findings(runtime, check).values()
    return found
