"""Running processes tell which secrets they know; nothing starts or rotates against them."""

import subprocess
import sys

from devstack.processes import ROOT
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually

_NEW = "a new secret of some length"


def _announced(system: LiveSystem) -> set[str]:
    return {row["process"].split()[0] for row in system.rows("SELECT process FROM process_secrets")}


def _end(system: LiveSystem, *command: object, secrets: str) -> tuple[int, str]:
    environment = {**system.stack.environment, "PYTHONPATH": f"{ROOT}/src"}
    ended = subprocess.run(
        [*map(str, command)],
        env={**environment, "KEY_ENCRYPTION_SECRETS": secrets},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr.splitlines()[-1]


def test_a_change_that_running_processes_could_not_read_is_refused(system: LiveSystem):
    """The start of a process and the rotation end with one line, and nothing has changed."""
    system.log_in("anna")
    old = system.stack.environment["SECRET"]
    eventually(lambda: _announced(system) == {"web", "worker", "beat"}, "all have announced")
    before = system.rows("SELECT master_key FROM users ORDER BY id")
    beat = ROOT / "entrypoint.beat.sh"
    status, said = _end(system, beat, secrets=f"{_NEW},{old}")
    assert (status, "is unknown to running processes" in said) == (2, True)
    status, said = _end(system, beat, secrets=_NEW)
    assert (status, "lacks a secret that encrypts rows" in said) == (2, True)
    flask = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
    status, said = _end(system, *flask, "keys", "rotate", secrets=f"{_NEW},{old}")
    assert (status, "Running processes don't know the first" in said) == (1, True)
    assert system.rows("SELECT master_key FROM users ORDER BY id") == before
