"""Starts the sandbox in a child process, and gives access to its clients."""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sandbox.clients import (
    Control,
    DataHubClient,
    EnergyTypeClient,
    HydraClient,
    LedgerClient,
    ReceiverClient,
)

START_SECONDS = 30
"""Seconds that the servers may take to become ready."""
STOP_SECONDS = 5


class Peers:
    """Clients of a running sandbox. `urls` maps server names to URLs.

    `python -m sandbox` prints such a mapping as JSON when it is ready: `Peers(json.loads(line))`.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = dict(urls)
        self.hydra = HydraClient(self.urls["hydra"])
        self.datahub = DataHubClient(self.urls["datahub"])
        self.ledger = LedgerClient(self.urls["ledger"])
        self.energytype = EnergyTypeClient(self.urls["energytype"])
        self.receiver = ReceiverClient(self.urls["receiver"])

    def reset(self) -> None:
        """Return all servers to their state at start: no data, no faults, no recorded calls."""
        clients: list[Control] = [
            self.hydra,
            self.datahub,
            self.ledger,
            self.energytype,
            self.receiver,
        ]
        for client in clients:
            client.reset()


class Sandbox(Peers):
    """All servers in a child process. A context manager; the child also exits with its parent.

    `redirect_uris` are those registered at Hydra. `ports` maps server names to ports; others get a
    free one. `block_time` and `webhook_retry` are in seconds. `log` receives the servers' stderr
    (default: this process's).
    """

    def __init__(
        self,
        *,
        redirect_uris: Iterable[str] = (),
        client_id: str = "account-service",
        client_secret: str = "sandbox-client-secret",  # noqa: S107 (it guards nothing)
        webhook_secret: str | None = None,
        block_time: float = 0.05,
        webhook_retry: float = 60,
        ports: Mapping[str, int] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        self._client = (client_id, client_secret)
        arguments = [
            f"--client-id={client_id}",
            f"--client-secret={client_secret}",
            f"--block-time={block_time}",
            f"--webhook-retry={webhook_retry}",
            *(f"--redirect-uri={uri}" for uri in redirect_uris),
            *(f"--{name}-port={port}" for name, port in (ports or {}).items()),
        ]
        if webhook_secret is not None:
            arguments.append(f"--webhook-secret={webhook_secret}")
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-m", "sandbox", f"--die-with-parent={os.getpid()}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        try:
            super().__init__(json.loads(self._ready_line()))
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The id of the servers' process."""
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """Return the service's environment variables that name these peers."""
        client_id, client_secret = self._client
        return {
            "HYDRA_URL": self.urls["hydra"],
            "HYDRA_INTROSPECT_URL": f"{self.urls['hydra']}/oauth2/introspect",
            "HYDRA_CLIENT_ID": client_id,
            "HYDRA_CLIENT_SECRET": client_secret,
            "DATAHUB_SERVICE_URL": self.urls["datahub"],
            "LEDGER_URL": self.urls["ledger"],
            "ENERGY_TYPE_SERVICE_URL": self.urls["energytype"],
        }

    def stop(self) -> None:
        """Stop the servers. Further calls do nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _ready_line(self) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(START_SECONDS):
                raise TimeoutError(f"The sandbox was not ready within {START_SECONDS} s")
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"The sandbox ended at once, with status {self._process.wait()}")
        return line
