"""Starts, stops and kills the service's processes, and other processes beside them."""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from devstack.guarded import GuardedProcess, ProcessFailedError
from devstack.ports import LOOPBACK, free_port

ROOT = Path(__file__).resolve().parents[2]
# Long, for busy machines. A process that fails to start ends, which is noticed at once.
_READY_SECONDS = 100.0
_POLL_SECONDS = 0.05
_LOG_END_CHARACTERS = 3000
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a web keeps its metrics there if it can

# Returns from the output since the start whether the process is ready.
Ready = Callable[[str], bool]
# Returns the command that starts `web`, `worker` or `beat` with an environment.
Command = Callable[[str, Mapping[str, str]], Sequence[str | Path]]


def answers(url: str) -> Ready:
    """Return a check that passes once a GET of this URL answers 200."""

    def ready(_output: str) -> bool:
        try:
            return requests.get(url, timeout=5).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    return ready


def says(pattern: str | re.Pattern[str]) -> Ready:
    """Return a check that passes once the output matches this pattern."""
    return lambda output: re.search(pattern, output) is not None


class SupervisedProcess:
    """A command with a log and a check for when it is ready. It ends with this process.

    `env` is its whole environment. Restarts append to the log, `logs/NAME.log`.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        logs: Path,
        ready: Ready,
    ) -> None:
        self.name = name
        self.env = dict(env)
        self.log = logs / f"{name}.log"
        self._argv = argv
        self._ready = ready
        self._log_start = 0
        self._process = GuardedProcess()

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
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid

    def launch(self) -> None:
        """Start the process without waiting until it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process.start(self._argv, log=self.log, env=self.env, cwd=ROOT, grace_seconds=20)

    def wait_until_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Wait until the process is ready; ProcessFailedError, with the log's end, if it isn't."""
        deadline = time.monotonic() + timeout
        while not self._ready(self.output()):
            if self._process.pid is None or time.monotonic() > deadline:
                state = "starting" if self._process.pid else f"ended ({self._process.status})"
                end = self.output()[-_LOG_END_CHARACTERS:]
                raise ProcessFailedError(f"{self.name} is not ready, but {state}:\n{end}")
            time.sleep(_POLL_SECONDS)

    def was_ready(self) -> bool:
        """Return whether the process was ready before it ended, judging by its output."""
        return self._ready(self.output())

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process itself, if it runs, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def terminate(self, timeout: float = 30.0) -> int:
        """Send SIGTERM to the process itself, as a container engine does, and wait for its end.

        Returns the exit status; TimeoutError after `timeout` s. Its orphans are killed.
        """
        self.ask_to_end()
        return self.wait(timeout)

    def kill(self) -> None:
        """Send SIGKILL to the process and its children, and wait until they are gone."""
        pid = self.pid
        self._process.kill()
        _remove_metrics_of(pid)

    def pause(self, pids: Iterable[int] = ()) -> None:
        """Send SIGSTOP to all of its processes, or to these only."""
        self._signal_processes(signal.SIGSTOP, pids)

    def resume(self) -> None:
        """Send SIGCONT to all of its processes."""
        self._signal_processes(signal.SIGCONT, ())

    def children(self) -> list[int]:
        """Return the ids of the processes that it has started itself."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(pid) for pid in found.read_text().split()]
        except FileNotFoundError:
            return []

    def _signal_processes(self, number: int, pids: Iterable[int]) -> None:
        leader = self.pid
        # Processes may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            if leader is not None and not pids:
                os.killpg(leader, number)
            for pid in pids:
                os.kill(pid, number)

    def restart(self) -> None:
        """Terminate the process if it runs, start it, and wait until it is ready."""
        if self._process.pid is not None:
            self.terminate()
        self.start()

    def wait(self, timeout: float) -> int:
        """Wait for the process to end by itself, and return its exit status.

        Raises TimeoutError, with the log's end, after `timeout` s.
        """
        try:
            return self._process.wait(timeout)
        except TimeoutError as error:
            end = self.output()[-_LOG_END_CHARACTERS:]
            raise TimeoutError(f"{self.name} is {error}:\n{end}") from error

    def output(self) -> str:
        """Return the output since the last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """Stop the process for good."""
        pid = self.pid
        self._process.close()
        _remove_metrics_of(pid)


def _remove_metrics_of(pid: int | None) -> None:
    """Remove the directory that a web has for its metrics: after SIGKILL it can't do so itself."""
    for place in (_SHARED_MEMORY, Path(tempfile.gettempdir())):
        for folder in place.glob(f"account-service-metrics-{pid}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def entry_point(name: str, _env: Mapping[str, str]) -> Sequence[str | Path]:
    """Return the command that starts `web`, `worker` or `beat` from this checkout."""
    return [ROOT / f"entrypoint.{name}.sh"]


WORKER_READY = says(r"worker-\d+@\S+ ready")
"""Passes once a worker's log (at INFO) says that it takes tasks."""


class ServiceProcesses:
    """Web, worker and beat, started by their entry points as operators do.

    `env` must contain all of the service's variables (`devstack.environment`), including PORT, and a
    LOG_LEVEL of INFO or lower: the logs of worker and beat tell when they are ready. Without a
    METRICS_PORT, worker and beat get a free one each. `command` returns
    the command that starts each of them; by default the checkout's entry points.
    """

    def __init__(
        self, env: Mapping[str, str], logs: Path, *, command: Command = entry_point
    ) -> None:
        self.url = f"http://127.0.0.1:{env['PORT']}"

        def process(name: str, ready: Ready) -> SupervisedProcess:
            return SupervisedProcess(name, command(name, env), env=env, logs=logs, ready=ready)

        self.web = process("web", answers(f"{self.url}/health/ready"))
        self.worker = process("worker", WORKER_READY)
        self.beat = process("beat", says(r"beat: Starting"))
        for each in (self.worker, self.beat):
            each.env.setdefault("METRICS_PORT", str(free_port()))

    @property
    def metrics_targets(self) -> list[str]:
        """`host:port` of the /metrics of web, worker and beat."""
        ports = (self.web.env["PORT"], *(each.env["METRICS_PORT"] for each in self.all[1:]))
        return [f"{LOOPBACK}:{port}" for port in ports]

    @property
    def all(self) -> tuple[SupervisedProcess, ...]:
        """Web, worker and beat."""
        return (self.web, self.worker, self.beat)

    def __enter__(self) -> Self:
        """Start all of them, and wait until each is ready."""
        try:
            for process in self.all:
                process.launch()
            for process in self.all:
                process.wait_until_ready()
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

    def close(self) -> None:
        """Stop all of them for good, at the same time, even if one of them fails to stop."""
        for process in self.all:
            process.ask_to_end()
        with ExitStack() as stack:
            for process in self.all:
                stack.callback(process.close)
