"""An independent OpenID provider, a service for each test, and browsers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.oidc.browser import Browser
from tests.integration.oidc.packages import installed_packages
from tests.integration.oidc.provider import Provider, running_provider
from tests.integration.oidc.service import Door, Service


@pytest.fixture(scope="session")
def door() -> Iterator[Door]:
    with Door() as opened:
        yield opened


@pytest.fixture(scope="session")
def running(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    packages = installed_packages()
    with running_provider(packages, door.callback_url, tmp_path_factory.mktemp("oidc")) as one:
        yield one


@pytest.fixture
def provider(running: Provider) -> Iterator[Provider]:
    """The provider, running, with the right time."""
    yield running
    running.start()
    running.set_clock(ahead_s=0)


@pytest.fixture
def new_service(
    module_database_uri: str, provider: Provider, door: Door
) -> Iterator[Callable[..., Service]]:
    """Make a service with other settings; the newest is behind the door."""
    made: list[Service] = []

    def make(**settings: Any) -> Service:
        made.append(Service(module_database_uri, provider.url, door, **settings))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    return new_service()


@pytest.fixture
def new_browser(door: Door) -> Iterator[Callable[[], Browser]]:
    made: list[Browser] = []

    def make() -> Browser:
        made.append(Browser(door.url))
        return made[-1]

    yield make
    for browser in made:
        browser.close()


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()
