"""Starts the peers and the service's processes on this machine."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.client import OAuthClient
from devstack.configured import Redis
from devstack.environment import inherited, service_environment
from devstack.ports import LOOPBACK, free_port
from devstack.processes import (
    ROOT,
    Command,
    ServiceProcesses,
    SupervisedProcess,
    entry_point,
    says,
)
from sandbox.running import Peers

CLIENT_ID = "account-service"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - public: it protects nothing
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105 - public, too
FRONTEND_CLIENT_ID = "demo-frontend"
# On a loopback address any port fits.
FRONTEND_REDIRECT_URI = "http://127.0.0.1/callback"
DOCS_CLIENT_ID = "api-docs"
DOCS_REDIRECT_URI = "http://127.0.0.1/docs/oauth2-redirect.html"
_URLS_LINE = re.compile(r'^\{"hydra": .*\}$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class System:
    """A running system: the service's `url`, the peers, and a client registered at Hydra."""

    url: str
    sandbox: Peers
    oauth: OAuthClient


@dataclass(frozen=True, slots=True)
class Stack(System):
    """A system whose service processes we started, with their environment variables."""

    environment: dict[str, str]
    services: ServiceProcesses


@contextmanager
def running_sandbox(
    *,
    redirect_uris: Iterable[str],
    logs: Path,
    client_id: str = CLIENT_ID,
    client_secret: str = CLIENT_SECRET,
    webhook_retry_s: float = 1,
    ports: Mapping[str, int] | None = None,
) -> Iterator[Peers]:
    """Run the peers in a supervised process.

    `ports` maps server names to ports; others get a free one. `webhook_retry_s`: seconds between
    DataHub's attempts to send a webhook.
    """
    process = SupervisedProcess(
        "sandbox",
        [sys.executable, "-m", "sandbox", "--block-time=0.05", f"--webhook-retry={webhook_retry_s}"]
        + [f"--client-id={client_id}", f"--client-secret={client_secret}"]
        + [f"--redirect-uri={uri}" for uri in redirect_uris]
        + [f"--public-client={FRONTEND_CLIENT_ID}={FRONTEND_REDIRECT_URI}"]
        + [f"--public-client={DOCS_CLIENT_ID}={DOCS_REDIRECT_URI}"]
        + [f"--{name}-port={port}" for name, port in (ports or {}).items()],
        env={**inherited(), "PYTHONPATH": str(ROOT / "src")},
        logs=logs,
        ready=says(_URLS_LINE),
    )
    with process:
        found = _URLS_LINE.search(process.output())
        assert found is not None, "the process is ready once it has printed this line"
        yield Peers(json.loads(found[0]))


def peers_environment(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the service's variables for a sandbox with these URLs, with its public secrets."""
    return {
        "HYDRA_URL": urls["hydra"],
        "HYDRA_INTROSPECT_URL": f"{urls['hydra']}/oauth2/introspect",
        "HYDRA_CLIENT_ID": CLIENT_ID,
        "HYDRA_CLIENT_SECRET": CLIENT_SECRET,
        "DOCS_CLIENT_ID": DOCS_CLIENT_ID,
        "DATAHUB_SERVICE_URL": urls["datahub"],
        "LEDGER_URL": urls["ledger"],
        "ENERGY_TYPE_SERVICE_URL": urls["energytype"],
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }


def redirect_uris(url: str) -> list[str]:
    """Return the redirect URIs to register at Hydra: the service's, and our API client's."""
    return [f"{url}/auth/login/callback", _api_callback(url)]


@contextmanager
def running_services(
    url: str,
    sandbox: Peers,
    *,
    database_uri: str,
    redis: Redis,
    logs: Path,
    changes: Mapping[str, str] | None = None,
    command: Command = entry_point,
) -> Iterator[Stack]:
    """Run web (at `url`), worker and beat with these peers, and yield them when they are ready.

    `changes` override environment variables. `command` returns the command that starts each process.
    """
    environment = service_environment(
        database_uri=database_uri,
        redis=redis,
        peers=peers_environment(sandbox.urls),
        port=int(url.rpartition(":")[2]),
        changes=changes,
    )
    with ServiceProcesses(environment, logs, command=command) as services:
        yield Stack(url, sandbox, api_client(url, sandbox), environment, services)


@contextmanager
def running_stack(
    *,
    database_uri: str,
    redis: Redis,
    logs: Path,
    changes: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Run the peers and the service on a free port, and yield them when they are ready."""
    url = free_url()
    with (
        running_sandbox(redirect_uris=redirect_uris(url), logs=logs) as sandbox,
        running_services(
            url, sandbox, database_uri=database_uri, redis=redis, logs=logs, changes=changes
        ) as stack,
    ):
        yield stack


def api_client(url: str, sandbox: Peers) -> OAuthClient:
    """Return the client that gets tokens for the service at `url` from the sandbox's Hydra."""
    return OAuthClient(
        hydra_url=sandbox.urls["hydra"],
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        redirect_uri=_api_callback(url),
    )


def free_url() -> str:
    """Return `http://127.0.0.1:PORT` with a free port."""
    return f"http://{LOOPBACK}:{free_port()}"


def _api_callback(url: str) -> str:
    """Return our API client's redirect URI; nothing needs to listen there."""
    return f"{url}/api-client"
