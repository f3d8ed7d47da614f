"""Supervised processes: readiness, signals, logs, and no process left behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devstack.environment import inherited
from devstack.guarded import ProcessFailedError
from devstack.processes import ROOT, SupervisedProcess, says
from tests.support.waiting import eventually

_GUNICORN = ROOT / "src/origin/web/gunicorn/conf.py"
# A process that has a directory for metrics, as a web.
_MEASURED = f"""
import os, runpy, time
runpy.run_path({str(_GUNICORN)!r})
print("metrics in", os.environ["PROMETHEUS_MULTIPROC_DIR"], flush=True)
time.sleep(1000)
"""
# A process with a child. It prints both ids and waits. SIGTERM ends the parent with status 7.
_FAMILY = [
    "bash",
    "-c",
    'sleep 1000 & trap "echo bye; exit 7" TERM; echo "up $$ child $!"; wait',
]


def _family(tmp_path):
    return SupervisedProcess(
        "family", _FAMILY, env=inherited(), logs=tmp_path, ready=says(r"up \d+ child \d+")
    )


def _ids(process):
    return [int(number) for number in re.findall(r"\d+", process.output())]


def test_a_terminated_process_leaves_no_child(tmp_path, wait_until_gone):
    with _family(tmp_path) as process:
        parent, child = _ids(process)
        assert process.pid == parent
        assert process.terminate() == 7
        assert process.pid is None
        assert process.output().endswith("bye\n")
        wait_until_gone(child)


def test_a_killed_process_leaves_no_child(tmp_path, wait_until_gone):
    with _family(tmp_path) as process:
        parent, child = _ids(process)
        process.kill()
        assert process.wait(0) == -signal.SIGKILL
        wait_until_gone(parent)
        wait_until_gone(child)


@pytest.mark.parametrize("end", [SupervisedProcess.kill, SupervisedProcess.close])
def test_the_metrics_of_a_killed_web_are_removed(tmp_path, end):
    command = [sys.executable, "-c", _MEASURED]
    with SupervisedProcess(
        "web", command, env=inherited(), logs=tmp_path, ready=says(r"metrics in \S+\n")
    ) as process:
        folder = Path(process.output().split()[-1])
        assert folder.exists()
        end(process)
        assert not folder.exists()


def test_paused_processes_stop_until_resumed(tmp_path, wait_until_gone):
    with _family(tmp_path) as process:
        parent, child = _ids(process)
        assert process.children() == [child]
        process.pause([child])
        eventually(lambda: _state(child) == "T", "the child is stopped")
        assert _state(parent) != "T"
        process.pause()
        eventually(lambda: _state(parent) == "T", "both are stopped")
        process.resume()
        eventually(lambda: {_state(parent), _state(child)} == {"S"}, "both continue")
        process.pause()
        process.kill()
        wait_until_gone(parent)
        wait_until_gone(child)
        assert process.children() == []
        # Without processes, both do nothing.
        process.pause()
        process.resume()


def test_was_ready_tells_whether_an_ended_process_was_ready(tmp_path):
    with _family(tmp_path) as process:
        process.kill()
        assert process.was_ready()
    nothing = SupervisedProcess("none", ["true"], env={}, logs=tmp_path, ready=says("up"))
    nothing.launch()
    nothing.wait(30)
    assert not nothing.was_ready()
    nothing.close()


def _state(pid):
    """Return the kernel's letter for the state: S is sleeping, T is stopped."""
    return psutil.Process(pid).status().replace("sleeping", "S").replace("stopped", "T")


def test_output_covers_the_last_start_and_the_log_all_starts(tmp_path):
    with _family(tmp_path) as process:
        first = process.output()
        process.restart()
        second = process.output()
        assert first != second
        assert process.log.read_text() == f"{first}bye\n{second}"


def test_a_process_that_ends_before_it_is_ready_says_why(tmp_path):
    process = SupervisedProcess(
        "wrong", ["bash", "-c", "echo no luck; exit 3"], env={}, logs=tmp_path, ready=says("up")
    )
    with pytest.raises(ProcessFailedError, match=r"ended \(3\):\nno luck"), process:
        pass


def test_a_missing_program_is_reported(tmp_path):
    process = SupervisedProcess(
        "none", [tmp_path / "nothing"], env={}, logs=tmp_path, ready=says("up")
    )
    with pytest.raises(ProcessFailedError, match="No such file"), process:
        pass


def test_a_process_has_exactly_its_own_environment(tmp_path):
    with SupervisedProcess(
        "env",
        ["/usr/bin/env"],
        env={"ONLY": "this"},
        logs=tmp_path,
        ready=says("ONLY=this\n"),
    ) as process:
        process.wait(30)
        assert process.output() == "ONLY=this\n"


_OWNER = f"""
import sys
from pathlib import Path
from devstack.environment import inherited
from devstack.processes import ROOT, SupervisedProcess, says
from tests.support.waiting import eventually
with SupervisedProcess(
    "family", {_FAMILY!r}, env=inherited(), logs=Path(sys.argv[1]), ready=says("child")
) as process:
    print(process.output(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_a_killed_owner(tmp_path, end, wait_until_gone):
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        parent, child = (int(number) for number in re.findall(r"\d+", owner.stdout.readline()))
        owner.send_signal(end)
        owner.wait(15)
    wait_until_gone(parent)
    wait_until_gone(child)
    # The process got its stop signal first, and was not killed.
    assert (tmp_path / "family.log").read_text().endswith("bye\n")
