"""The service's processes, and others beside them, each to be ended, killed and started at will."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from devstack.guarded import GuardedProcess, ProcessFailedError

ROOT = Path(__file__).resolve().parents[2]
# A machine may be busy; what fails to start ends, and isn't waited for.
_READY_SECONDS = 100.0
_POLL_SECONDS = 0.05
_LOG_END_CHARACTERS = 3000

# Given the output since the start, whether the process is ready.
Ready = Callable[[str], bool]
# Given `web`, `worker` or `beat` and its environment, the command that starts it.
Command = Callable[[str, Mapping[str, str]], Sequence[str | Path]]


def answers(url: str) -> Ready:
    """Ready as soon as a GET of this URL answers 200."""

    def ready(_output: str) -> bool:
        try:
            return requests.get(url, timeout=5).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    return ready


def says(pattern: str | re.Pattern[str]) -> Ready:
    """Ready as soon as the output holds a match of this pattern."""
    return lambda output: re.search(pattern, output) is not None


class SupervisedProcess:
    """A command with its log and a way to tell when it is ready; it ends with its owner, always.

    `env` is all of its environment. The log, `logs/NAME.log`, is appended to over restarts.
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
        """Start it without waiting; `wait_until_ready` does that."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process.start(self._argv, log=self.log, env=self.env, cwd=ROOT, grace_seconds=20)

    def wait_until_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Wait until it is ready; ProcessFailedError with the log's end where it isn't in time."""
        deadline = time.monotonic() + timeout
        while not self._ready(self.output()):
            if self._process.pid is None or time.monotonic() > deadline:
                state = "still starts" if self._process.pid else f"ended ({self._process.status})"
                end = self.output()[-_LOG_END_CHARACTERS:]
                raise ProcessFailedError(f"{self.name} is not ready, it {state}:\n{end}")
            time.sleep(_POLL_SECONDS)

    def was_ready(self) -> bool:
        """Whether what it has said, before it ended, tells that it was ready."""
        return self._ready(self.output())

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def ask_to_end(self) -> None:
        """SIGTERM to the process itself, if it runs, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM to the process itself, as a container engine does, and wait for its end.

        Returns its exit status; TimeoutError if it runs on. What it leaves behind is killed.
        """
        self.ask_to_end()
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL it with all of its children, and wait until they are gone."""
        self._process.kill()

    def pause(self, pids: Iterable[int] = ()) -> None:
        """SIGSTOP all of its processes, or these alone; they stand still until `resume`."""
        self._signal_processes(signal.SIGSTOP, pids)

    def resume(self) -> None:
        """SIGCONT all of its processes; those that don't stand still aren't disturbed."""
        self._signal_processes(signal.SIGCONT, ())

    def children(self) -> list[int]:
        """The ids of the processes that it has started itself."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(pid) for pid in found.read_text().split()]
        except FileNotFoundError:
            return []

    def _signal_processes(self, number: int, pids: Iterable[int]) -> None:
        leader = self.pid
        # One that has ended meanwhile has nothing to be told.
        with contextlib.suppress(ProcessLookupError):
            if leader is not None and not pids:
                os.killpg(leader, number)
            for pid in pids:
                os.kill(pid, number)

    def restart(self) -> None:
        """Terminate it where it runs, start it, wait until it is ready."""
        if self._process.pid is not None:
            self.terminate()
        self.start()

    def wait(self, timeout: float) -> int:
        """Wait for it to end by itself and return the exit status.

        Raises TimeoutError after `timeout` s, with its log's end.
        """
        try:
            return self._process.wait(timeout)
        except TimeoutError as error:
            end = self.output()[-_LOG_END_CHARACTERS:]
            raise TimeoutError(f"{self.name} is {error}:\n{end}") from error

    def output(self) -> str:
        """What it has written since it was last started."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """End it for good."""
        self._process.close()


def entry_point(name: str, _env: Mapping[str, str]) -> Sequence[str | Path]:
    """The command that starts `web`, `worker` or `beat` from this checkout."""
    return [ROOT / f"entrypoint.{name}.sh"]


WORKER_READY = says(r"worker-\d+@\S+ ready")
"""When a worker has begun to take work, by its log at INFO."""


class ServiceProcesses:
    """The service as operators run it: web, worker and beat by their entry points.

    `env` must be complete for the service (`devstack.environment`), with PORT, and with a LOG_LEVEL
    that lets INFO through: worker and beat say in their logs that they are ready. `command`: how each
    is started, where not from this checkout.
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

    @property
    def all(self) -> tuple[SupervisedProcess, ...]:
        """Web, worker and beat."""
        return (self.web, self.worker, self.beat)

    def __enter__(self) -> Self:
        """Start all at once and wait until every one is ready."""
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
        """End all of them for good, at the same time; one that fails to end doesn't keep the others."""
        for process in self.all:
            process.ask_to_end()
        with ExitStack() as stack:
            for process in self.all:
                stack.callback(process.close)
