"""Fixtures: the demo's system, and a session for the blocks of a document."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from devstack.configured import Postgres, Redis
from devstack.console import Console
from devstack.demo import Demo, exports
from devstack.environment import inherited
from devstack.ports import free_port
from devstack.postgres import tools_folder
from devstack.processes import ROOT, SupervisedProcess, says
from tests.support import command_server
from tests.support.live_system import LiveSystem, running_system
from tests.support.page_session import PageSession

_DATABASE = "test_docs"
_PEERS_PORTS = {
    24444: "hydra",
    24445: "datahub",
    24446: "energytype",
    24447: "ledger",
    24448: "receiver",
}
# The ports of servers that the documents themselves start.
_OWN_PORTS = (8401, 8402)

# The commands of a reader, as scripts: our service's command line, our Python, and a browser.
_COMMANDS = {
    "flask": 'exec python -I -S "$COMMAND_SERVER" "$COMMAND_SOCKET" "$@"',
    "pipenv": 'shift; if [ "$1" = migrate ]; then exec python -m origin.migrate; fi; exec "$@"',
    "python": f'exec "{sys.executable}" "$@"',
    "python3": f'exec "{sys.executable}" "$@"',
    "browser": 'exec python -m tests.support.reader "$@"',
}
_SOCKET = "commands.socket"
_PYTHONPATH = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
_WITHOUT_CURL = 'exec python -m tests.support.curl "$@"'

OpenPage = Callable[[str], PageSession]
"""Opens the session of a page, by its path."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A reader's desk: the demo has run and still runs; `variables` are those that it printed."""

    system: LiveSystem
    variables: Mapping[str, str]
    commands: Path

    def environment(self) -> dict[str, str]:
        """Return a session's variables: those of the service, and our commands on the PATH."""
        return {
            **self.system.stack.environment,
            "PATH": os.pathsep.join([str(self.commands), str(tools_folder()), os.environ["PATH"]]),
            "PYTHONPATH": _PYTHONPATH,
            "BROWSER": f"{self.commands / 'browser'} %s &",
            "COMMAND_SERVER": command_server.__file__,
            "COMMAND_SOCKET": str(self.commands / _SOCKET),
        }

    def ports(self) -> dict[int, int]:
        """Return the documented ports, and those of this run."""
        urls = self.system.stack.sandbox.urls
        return {
            8085: _port(self.system.stack.url),
            **{port: _port(urls[name]) for port, name in _PEERS_PORTS.items()},
            **{port: free_port() for port in _OWN_PORTS},
        }


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _write_commands(folder: Path) -> Path:
    commands = _COMMANDS if which("curl") else {**_COMMANDS, "curl": _WITHOUT_CURL}
    for name, script in commands.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)
    return folder


def _command_server(folder: Path, logs: Path) -> SupervisedProcess:
    return SupervisedProcess(
        "commands",
        [sys.executable, "-m", "tests.support.command_server", folder / _SOCKET],
        env={**inherited(), "PYTHONPATH": _PYTHONPATH},
        logs=logs,
        ready=says("^ready"),
    )


@pytest.fixture(scope="package")
def desk(
    postgres: Postgres, valkey: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """The system after the demo, in which Anna and Bo have traded."""
    postgres.drop_database(_DATABASE)
    uri = postgres.create_database(_DATABASE)
    logs, commands = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("commands")
    with (
        _command_server(commands, logs),
        running_system(uri, valkey, logs, {"WORKERS": "1"}) as system,
    ):
        demo = Demo(system.stack, Console())
        assert demo.run()
        yield Desk(system, demo.variables(), _write_commands(commands))
        # Faster than a graceful end, which other tests check.
        for process in system.processes:
            process.kill()
    postgres.drop_database(_DATABASE)


@pytest.fixture
def open_page(desk: Desk, tmp_path: Path) -> OpenPage:
    """Open a page; its blocks run in a folder that looks like the project's."""
    for entry in ROOT.iterdir():
        if entry.name not in {".run", ".git", ".env"}:
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run/demo.env").write_text(exports(desk.variables))
    return lambda page: PageSession(page, tmp_path, desk.environment(), desk.ports())
