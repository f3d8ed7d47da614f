"""The command `python -m sandbox`: one server or all, readiness, and shutdown."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from sandbox import Peers, Sandbox
from tests.support.waiting import eventually

SOURCE = Path(__file__).parents[3] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}
SECONDS = 20


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )


def test_a_single_server_stops_at_once():
    """Even while a fault delays a call."""
    signals = (signal.SIGTERM, signal.SIGINT)
    processes = [start("ledger", "--block-time=0") for _ in signals]
    for process, number in zip(processes, signals, strict=True):
        with process:
            (url,) = json.loads(process.stdout.readline()).values()
            fault = {"endpoint": "/state/*", "delay_before": 60, "times": None}
            requests.post(f"{url}/control/faults", json=fault, timeout=SECONDS)
            with pytest.raises(requests.ReadTimeout):
                requests.get(f"{url}/state/x", timeout=0.1)
            process.send_signal(number)
            # Less than the fault's delay.
            assert process.wait(SECONDS) == 0


def test_datahub_alone_needs_an_introspection_url(sandbox):
    with start("datahub") as process:
        assert process.wait(SECONDS) == 2
    hydra = sandbox.environment()["HYDRA_INTROSPECT_URL"]
    with start("datahub", f"--introspect-url={hydra}") as process:
        (url,) = json.loads(process.stdout.readline()).values()
        token = {"Authorization": f"Bearer {sandbox.hydra.tokens('anna').access}"}
        answer = requests.post(f"{url}/meteringpoints", headers=token, timeout=SECONDS)
        assert answer.json() == {"success": True, "meteringpoints": []}
        process.terminate()


def test_all_servers_of_a_running_sandbox(running):
    names = {}
    for name, url in Peers(running.urls).urls.items():
        answer = requests.get(f"{url}/control/health", timeout=SECONDS)
        names[name] = answer.json()["server"]
    assert names == {name: name for name in running.urls}
    assert all(url.startswith("http://127.0.0.1:") for url in running.urls.values())


def test_stopping_leaves_nothing_behind():
    with Sandbox() as sandbox:
        process = psutil.Process(sandbox.pid)
    assert not process.is_running()
    sandbox.stop()


def test_the_servers_die_with_their_parent():
    """Even if the parent was killed with SIGKILL."""
    code = "from sandbox import Sandbox; s = Sandbox(); print(s.pid, flush=True); input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    with parent:
        servers = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    eventually(
        lambda: not servers.is_running() or servers.status() == psutil.STATUS_ZOMBIE,
        "the servers' end",
    )


def test_a_sandbox_that_cannot_start_says_so(running, tmp_path):
    """With a port that is in use, the log has the reason."""
    taken = int(running.urls["ledger"].rpartition(":")[2])
    with (tmp_path / "log").open("w+b") as log:
        with pytest.raises(RuntimeError, match="ended at once"):
            Sandbox(ports={"ledger": taken}, log=log)
        log.seek(0)
        assert b"Address already in use" in log.read()


def test_the_sandbox_imports_nothing_of_the_service():
    """The sandbox is the reference: it must not share the service's errors."""
    for path in (SOURCE / "sandbox").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            foreign = [name for name in names if name.split(".")[0] in ("origin", "devstack")]
            assert not foreign, path
