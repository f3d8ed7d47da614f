"""A web, started as operators start it, and raw connections to it."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from devstack.environment import inherited
from devstack.ports import LOOPBACK, free_port
from devstack.processes import ROOT, SupervisedProcess, answers

# Nothing listens there. A web starts without its peers.
_NOBODY = f"http://{LOOPBACK}:9"
_PEERS = (
    "HYDRA_URL",
    "HYDRA_INTROSPECT_URL",
    "DATAHUB_SERVICE_URL",
    "ENERGY_TYPE_SERVICE_URL",
    "LEDGER_URL",
)


@dataclass(frozen=True)
class Answer:
    """A response on a raw connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


class Connection:
    """A TCP connection to a web."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, *parts: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(b"".join(parts))

    def say_all_the_same(self, *parts: bytes) -> None:
        """Send as much of these bytes as the web accepts."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.say(*parts)

    def end(self) -> None:
        """Close the connection for sending."""
        self.socket.shutdown(socket.SHUT_WR)

    def answer(self) -> Answer:
        """Read the next response.

        :raises ConnectionError: the connection ends before.
        """
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._more()
        head, _, body = heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (e.partition(":") for e in lines)
        }
        while len(body) < int(headers["content-length"]):
            body += self._more()
        return Answer(int(first.split()[1]), headers, body)

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("The connection was closed before the answer was whole")
        return data

    def is_closed_within(self, seconds: float) -> bool:
        """Return whether the web closes the connection within so many seconds, without a response."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(30)


@dataclass(frozen=True)
class Web:
    """A running web."""

    process: SupervisedProcess
    port: int
    host: str = LOOPBACK

    def connect(self) -> Connection:
        """Open a connection."""
        return Connection(self.host, self.port)

    def ask(self, *parts: bytes) -> Answer:
        """Send these bytes on a new connection; return the response."""
        with self.connect() as connection:
            connection.say_all_the_same(*parts)
            return connection.answer()

    def live_s(self) -> float:
        """Return the seconds that a new client waits for `/health/live`."""
        begun = time.monotonic()
        answer = self.ask(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.json["success"] is True
        return time.monotonic() - begun


@contextmanager
def running_web(
    database_uri: str, logs: Path, *, host: str = LOOPBACK, **changes: str
) -> Iterator[Web]:
    """Run a web by its entry point, in one process, with `changes` to its environment."""
    port = free_port()
    environment = {
        **inherited(),
        "SERVICE_NAME": "AccountService",
        "SECRET": "of nobody, for a test alone",
        "CORS_ORIGINS": "",
        "PROJECT_URL": f"http://{LOOPBACK}:{port}",
        "WEBHOOK_SECRET": "of nobody either, for a test",
        "HYDRA_CLIENT_ID": "test",
        "HYDRA_CLIENT_SECRET": "of nobody at all, for a test",
        "REDIS_HOST": LOOPBACK,
        "REDIS_PORT": "9",
        **{f"REDIS_{name}_DB": "0" for name in ("CACHE", "BROKER", "BACKEND")},
        **dict.fromkeys(_PEERS, _NOBODY),
        "DATABASE_URI": database_uri,
        "BIND_HOST": host,
        "PORT": str(port),
        "WORKERS": "1",
        **changes,
    }
    reached = "::1" if ":" in host else LOOPBACK
    url = f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
    with SupervisedProcess(
        "web",
        [ROOT / "entrypoint.web.sh"],
        env=environment,
        logs=logs,
        ready=answers(f"{url}/health/live"),
    ) as process:
        yield Web(process, port, reached)


def peak_memory_mb(pid: int) -> float:
    """Return the sum of the peak memory of a process's children, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = [
        int(line.split()[1])
        for child in children
        for line in Path(f"/proc/{child}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return sum(peaks) * 1024 / 1e6
