"""Runs a command that ends with the process that started it, however that ends."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack.privileges import Account

_GUARD = Path(__file__).with_name("guard.py")
_START_SECONDS = 30.0


class ProcessFailedError(RuntimeError):
    """A command could not be started, was not ready in time, or ended unexpectedly."""


class GuardedProcess:
    """Runs one command at a time through a guard process (`devstack.guard`).

    The command ends with this process, even after SIGKILL, and leaves no process behind. The folders
    in `remove` are removed when it is closed or this process ends. Thread-safe.
    """

    def __init__(self, *, remove: Sequence[Path] = ()) -> None:
        self._remove = tuple(remove)
        self._guard = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(_GUARD), *map(str, remove)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._pid: int | None = None
        self._status: int | None = None
        self._failure: str | None = None
        self._stop_signal = int(signal.SIGTERM)
        self._grace_seconds = 10.0
        self._reader = threading.Thread(target=self._read_reports, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
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
        """The command's process id while it runs, else None."""
        with self._changed:
            return self._pid

    @property
    def status(self) -> int | None:
        """The last command's exit status (negative: ended by that signal); None if none has ended."""
        with self._changed:
            return self._status

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        account: Account | None = None,
        stop_signal: int = signal.SIGTERM,
        grace_seconds: float = 10.0,
    ) -> int:
        """Start the command with exactly this environment, and return its process id.

        Its output is appended to `log`. `account`: the account to run it as; None: this process's.
        `stop` sends `stop_signal`, and SIGKILL after `grace_seconds`. Raises ProcessFailedError if
        the command can't be started.
        """
        with self._changed:
            assert self._pid is None, "already running"
            self._status = self._failure = None
            self._stop_signal, self._grace_seconds = int(stop_signal), grace_seconds
            self._send(
                do="start",
                argv=[str(part) for part in argv],
                log=str(log),
                env=dict(env),
                cwd=str(cwd),
                user=None if account is None else [account.uid, account.gid],
                stop_signal=int(stop_signal),
                grace_seconds=grace_seconds,
            )
            told = self._changed.wait_for(self._has_begun, timeout=_START_SECONDS)
            if not told or self._failure is not None:
                raise ProcessFailedError(f"{argv[0]} could not be started: {self._failure}")
            # 0: the command has ended already.
            return self._pid or 0

    def _has_begun(self) -> bool:
        return not (self._pid is None and self._status is None and self._failure is None)

    def send_signal(self, number: int) -> None:
        """Send a signal to the command's process if it runs; SIGKILL goes to all its processes."""
        with self._changed:
            if self._pid is not None:
                self._send(do="signal", number=int(number))

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the command to end, and return its exit status; TimeoutError after `timeout` s."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._pid is None, timeout=timeout):
                raise TimeoutError(f"still running after {timeout} s")
            return self._status or 0

    def stop(self) -> int | None:
        """Send the stop signal, and SIGKILL after the grace period; return the exit status."""
        if self.pid is not None:
            self.send_signal(self._stop_signal)
            try:
                self.wait(self._grace_seconds)
            except TimeoutError:
                self.kill()
        return self.status

    def kill(self) -> None:
        """Send SIGKILL to all of the command's processes, and wait until they are gone."""
        self.send_signal(signal.SIGKILL)
        self.wait(_START_SECONDS)

    def close(self) -> None:
        """Stop the command and the guard, and remove the folders. Further calls do nothing."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with self._changed, contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        self._guard.wait(self._grace_seconds + _START_SECONDS)
        self._reader.join()
        self._guard.stdout.close()
        for folder in self._remove:  # The guard has removed them, unless it was killed.
            shutil.rmtree(folder, ignore_errors=True)

    def _send(self, **command: Any) -> None:
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write(json.dumps(command).encode() + b"\n")
            self._guard.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise ProcessFailedError("the guard process has ended") from error

    def _read_reports(self) -> None:
        assert self._guard.stdout is not None
        for line in self._guard.stdout:
            report = json.loads(line)
            with self._changed:
                self._pid = report.get("started")
                self._failure = report.get("failed")
                self._status = report.get("ended")
                self._changed.notify_all()
        with self._changed:
            if self._pid is not None:
                self._pid, self._status = None, -int(signal.SIGKILL)
            self._failure = self._failure or "the guard process has ended"
            self._changed.notify_all()
