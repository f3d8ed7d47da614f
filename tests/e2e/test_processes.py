"""Web, worker and beat as operators run them: starting, failing to start, and shutting down."""

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.environment import inherited
from devstack.processes import ROOT
from tests.support.database import rows
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually

_NAMES = ("web", "worker", "beat")


def _refuses(url: str) -> bool:
    """Return whether connections to this URL are refused."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def _announced(system: LiveSystem) -> set[str]:
    """Return the names of the processes that have announced their secrets, killed ones included."""
    return {row["process"] for row in system.rows("SELECT process FROM process_secrets")}


def _running(system: LiveSystem) -> set[str]:
    """Return the announced processes that run."""
    pids = {name: name.split("process ")[1].split()[0] for name in _announced(system)}
    return {name for name, pid in pids.items() if Path("/proc", pid).exists()}


def _kinds(names: set[str]) -> set[str]:
    return {name.split()[0] for name in names}


def test_sigterm_lets_running_requests_and_posts_finish(system: LiveSystem):
    """A compose that waits for DataHub is still answered, and a POST to the ledger finishes.

    Idle connections, such as Bo's, delay nothing.
    """
    anna, bo = system.households("anna", "bo")
    posted, waiting = system.issue(anna, 0, 100), system.issue(anna, 1, 100)
    system.publish_consumption(anna, 1, 100)
    eventually(lambda: _kinds(_running(system)) == set(_NAMES), "all have announced their secrets")
    running = _running(system)
    datahub, ledger = system.sandbox.datahub, system.sandbox.ledger
    ledger.fault("/batches", times=None, delay_after=60)
    assert anna.compose(posted, transfers=[(40, bo)]).status_code == 200
    system.wait_for_fault(ledger)
    datahub.fault("/measurements/consumed", times=None, delay_before=60)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(anna.compose, waiting, retires=[30])
        system.wait_for_fault(datahub)
        for process in system.services.all:
            process.ask_to_end()
        eventually(lambda: _refuses(system.stack.url), "the web takes no more calls")
        assert not answer.done()
        # At once: a worker hands back what it hasn't ended 7.5 s after SIGTERM.
        ledger.clear_faults()
        datahub.clear_faults()
        assert answer.result(30).json() == {"success": True, "message": None}
    begin = time.monotonic()
    assert [process.wait(15) for process in system.services.all] == [0, 0, 0]
    assert time.monotonic() - begin < 10
    assert system.batch_states(posted) == ["SUBMITTED"]
    # Each has withdrawn what it had announced (tests/e2e/test_secrets.py).
    assert not running & _announced(system)
    for process in system.services.all:
        process.launch()
    for process in system.services.all:
        process.wait_until_ready()
    system.settle_and_audit()
    assert system.batch_states(posted) == system.batch_states(waiting) == ["COMPLETED"]


@pytest.mark.parametrize("name", _NAMES)
def test_a_wrong_environment_is_reported_in_one_message(
    system: LiveSystem, tmp_path: Path, name: str
):
    """Started by a link from another folder: the message names every variable, and shows no secret."""
    link = tmp_path / name
    link.symlink_to(ROOT / f"entrypoint.{name}.sh")
    environment = dict(system.stack.environment)
    for missing in ("HYDRA_URL", "WEBHOOK_SECRET"):
        del environment[missing]
    wrong = {
        "DATABASE_URI": "mysql://me:dbsecret@nowhere/x",
        "REDIS_PORT": "many",
        "LEDGER_URL": "no url",
        "LEASE_SECONDS": "-1",
    }
    ended = subprocess.run(
        [link],
        env={**environment, **wrong},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    what, _, wrongs = line.partition(": ")
    assert what == "The environment is not right"
    named = {each.partition(":")[0] for each in wrongs.split("; ")}
    assert named == {"HYDRA_URL", "WEBHOOK_SECRET", *wrong}
    for secret in ("dbsecret", *(environment[each] for each in ("SECRET", "HYDRA_CLIENT_SECRET"))):
        assert secret not in ended.stderr


@pytest.mark.parametrize("folder", [".", "src/migrations"])
def test_operators_migrate_by_pipenv_in_any_folder(empty_database_uri: str, folder: str):
    pipenv = shutil.which("pipenv", path=f"{ROOT}/.tools/bin:{os.environ['PATH']}")
    assert pipenv, "run `make sync` first"
    subprocess.run(
        [pipenv, "run", "migrate"],
        env={
            **inherited(),
            "DATABASE_URI": empty_database_uri,
            # Use the project's own environment, and no `.env` file of the developer.
            "PIPENV_IGNORE_VIRTUALENVS": "1",
            "PIPENV_VENV_IN_PROJECT": "1",
            "PIPENV_DONT_LOAD_ENV": "1",
        },
        cwd=ROOT / folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert len(rows(empty_database_uri, "SELECT version_num FROM alembic_version")) == 1
