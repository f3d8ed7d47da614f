"""The OpenID provider, a process that ends with the tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from devstack.environment import inherited
from devstack.ports import LOOPBACK, free_port
from devstack.processes import SupervisedProcess, says
from tests.integration.oidc.packages import node

CLIENT_ID = "account-service"
CLIENT_SECRET = "the-secret-of-the-client"


class Provider:
    """Controls the provider as its operator, and calls it as the client."""

    def __init__(self, url: str, process: SupervisedProcess) -> None:
        self.url = url
        self._process = process

    def stop(self) -> None:
        self._process.terminate()

    def start(self) -> None:
        """Restart with new keys and without any user."""
        if self._process.pid is None:
            self._process.start()

    def set_clock(self, *, ahead_s: int) -> None:
        response = requests.post(f"{self.url}/control/clock", params={"ahead": ahead_s}, timeout=10)
        response.raise_for_status()

    def revoke(self, token: str) -> None:
        response = self.as_client("/oauth2/revoke", token=token)
        assert response.status_code == 200, response.text

    def introspect(self, token: str) -> dict[str, Any]:
        return dict(self.as_client("/oauth2/introspect", token=token).json())

    def as_client(self, path: str, **form: str) -> requests.Response:
        """Post a form with the client's credentials."""
        return requests.post(
            self.url + path, data=form, auth=(CLIENT_ID, CLIENT_SECRET), timeout=10
        )


@contextmanager
def running_provider(packages: Path, redirect_uri: str, logs: Path) -> Iterator[Provider]:
    """Run a provider with one client on a free port of loopback."""
    port = free_port()
    options = {
        "packages": str(packages),
        "port": port,
        "clientId": CLIENT_ID,
        "clientSecret": CLIENT_SECRET,
        "redirectUri": redirect_uri,
    }
    with SupervisedProcess(
        "openid-provider",
        [node(), Path(__file__).with_name("provider.mjs"), json.dumps(options)],
        env=inherited(),
        logs=logs,
        ready=says("listening"),
    ) as process:
        yield Provider(f"http://{LOOPBACK}:{port}", process)
