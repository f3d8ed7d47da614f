"""The whole system on this machine: database, Redis, peers, web, worker and beat."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.client import OAuthClient
from devstack.configured import Redis
from devstack.environment import service_environment
from devstack.ports import LOOPBACK, free_port
from devstack.processes import ServiceProcesses
from sandbox.running import Sandbox

_CLIENT_ID = "account-service"
_CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - it guards nothing


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: the service's processes at `url`, the peers, and a client registered at Hydra."""

    url: str
    environment: dict[str, str]
    sandbox: Sandbox
    services: ServiceProcesses
    oauth: OAuthClient


@contextmanager
def running_sandbox(url: str, logs: Path) -> Iterator[Sandbox]:
    """The peers for a service at `url`, which also knows them as an API client's peers."""
    logs.mkdir(parents=True, exist_ok=True)
    with (
        (logs / "sandbox.log").open("ab") as log,
        Sandbox(
            client_id=_CLIENT_ID,
            client_secret=_CLIENT_SECRET,
            redirect_uris=[f"{url}/auth/login/callback", _api_callback(url)],
            webhook_retry=1,
            log=log,
        ) as sandbox,
    ):
        yield sandbox


@contextmanager
def running_services(
    url: str,
    sandbox: Sandbox,
    *,
    database_uri: str,
    redis: Redis,
    logs: Path,
    changes: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Web (at `url`), worker and beat, ready, with these peers; `changes` to their environment."""
    environment = service_environment(
        database_uri=database_uri,
        redis=redis,
        peers={**sandbox.environment(), "WEBHOOK_SECRET": "sandbox-webhook-secret"},
        port=int(url.rpartition(":")[2]),
        changes=changes,
    )
    oauth = OAuthClient(
        hydra_url=sandbox.urls["hydra"],
        client_id=_CLIENT_ID,
        client_secret=_CLIENT_SECRET,
        redirect_uri=_api_callback(url),
    )
    with ServiceProcesses(environment, logs) as services:
        yield Stack(url, environment, sandbox, services, oauth)


@contextmanager
def running_stack(
    *,
    database_uri: str,
    redis: Redis,
    logs: Path,
    changes: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Peers and service, all ready, on a free port; they end with the block, or with this process."""
    url = free_url()
    with (
        running_sandbox(url, logs) as sandbox,
        running_services(
            url, sandbox, database_uri=database_uri, redis=redis, logs=logs, changes=changes
        ) as stack,
    ):
        yield stack


def free_url() -> str:
    """Where a service may listen: `http://127.0.0.1:PORT`."""
    return f"http://{LOOPBACK}:{free_port()}"


def fresh_folder(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _api_callback(url: str) -> str:
    """Where an API client of ours wants its codes; nobody need listen there."""
    return f"{url}/api-client"
