"""Runs a command for an owner process, and ends it when the owner ends, even by SIGKILL.

Run as a script with the standard library only (`python -I -S guard.py`); `devstack.guarded` is its
client. It reads one JSON object a line from standard input:

- `{"do": "start", "argv": [...], "env": {...}, "cwd": "...", "log": "...", "user": [uid, gid] | null,
  "stop_signal": 15, "grace_seconds": 10}`: run the command, its output appended to the log.
- `{"do": "signal", "number": 15}`: send the signal to the command's own process, as a container
  engine does; SIGKILL goes to all of its processes.

It writes `{"started": pid}`, `{"failed": "why it could not be started"}` and `{"ended": status}`, with
the status as in `subprocess` (negative: the signal that ended it).

When the input ends or the parent is gone, the guard sends the command its stop signal, after the grace
period SIGKILL, kills what remains of it, and removes the folders given as arguments. Linux only.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OWNER_CHECK_SECONDS = 1.0
_STANDARD_INPUT = 0


def _children() -> Iterator[int]:
    """Yield the ids of this process's children, including orphans that it inherited."""
    me = os.getpid()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # The process ended after it was listed.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == me:
                yield int(entry.name)


def _exit_status(wait_status: int) -> int:
    return os.waitstatus_to_exitcode(wait_status)


class Guard:
    """Runs one command at a time, and kills what remains of it when it has ended."""

    def __init__(self) -> None:
        self._prctl: Callable[[int, int], int] = ctypes.CDLL(None, use_errno=True).prctl
        if self._prctl(_PR_SET_CHILD_SUBREAPER, 1) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        self._owner = os.getppid()
        self._told_to_end = False
        self._input = b""
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_to_stop = False
        self._stop_signal = int(signal.SIGTERM)
        self._grace_seconds = 10.0
        self._wakeup = self._listen_to_signals()

    def _listen_to_signals(self) -> int:
        """Write a byte to a pipe for each signal, so that one `select` waits for input and signals."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        return reading

    def _end(self, *_: object) -> None:
        self._told_to_end = True

    def run(self) -> None:
        """Serve the owner until it ends, then stop the command."""
        while self._wait_for_input(_OWNER_CHECK_SECONDS) and self._serve():
            pass
        self._stop()

    def _serve(self) -> bool:
        self._reap()
        return not self._told_to_end and os.getppid() == self._owner

    def _wait_for_input(self, seconds: float) -> bool:
        """Wait for a message or a signal and handle it; False when the input has ended."""
        ready, _, _ = select.select([_STANDARD_INPUT, self._wakeup], [], [], seconds)
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if _STANDARD_INPUT not in ready:
            return True
        received = os.read(_STANDARD_INPUT, 65536)
        *lines, self._input = (self._input + received).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(received)

    def _obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "start":
            self._start(command)
        elif command["number"] == signal.SIGKILL:
            self._kill()
        elif self._child is not None:
            self._pass_on(command["number"])

    def _pass_on(self, number: int) -> None:
        assert self._child is not None
        os.kill(self._child.pid, number)
        self._asked_to_stop = self._asked_to_stop or number == self._stop_signal

    def _start(self, command: dict[str, Any]) -> None:
        assert self._child is None, "one command at a time"
        self._asked_to_stop = False
        self._stop_signal = command["stop_signal"]
        self._grace_seconds = command["grace_seconds"]
        uid, gid = command["user"] or (None, None)
        try:
            with Path(command["log"]).open("ab") as log:
                self._child = subprocess.Popen(  # noqa: S603 - the owner's own command
                    command["argv"],
                    env=command["env"],
                    cwd=command["cwd"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=uid,
                    group=gid,
                    extra_groups=None if uid is None else [],
                    preexec_fn=self._die_with_guard,  # noqa: PLW1509 - one thread only
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._tell(failed=str(error))
        else:
            self._tell(started=self._child.pid)

    def _die_with_guard(self) -> None:
        """Make the kernel kill the child when the guard dies; runs in the child, as its user."""
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _reap(self) -> None:
        """Reap ended processes; if the command itself has ended, kill its orphans and report it."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._child is not None and pid == self._child.pid:
                self._child.returncode = _exit_status(wait_status)
                self._kill_remains()
                status, self._child = self._child.returncode, None
                self._tell(ended=status)

    def _kill(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._reap_until_ended(None)

    def _kill_remains(self) -> None:
        """Kill the command's orphans until there are none."""
        while remains := list(_children()):
            for pid in remains:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def _reap_until_ended(self, deadline: float | None) -> bool:
        """Wait for the command's end; False if the deadline (monotonic time) passes first."""
        self._reap()
        while self._child is not None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            select.select([self._wakeup], [], [], left)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
            self._reap()
        return True

    def _stop(self) -> None:
        if self._child is None:
            return
        # Not twice: many programs take a second signal as "stop at once".
        if not self._asked_to_stop:
            self._pass_on(self._stop_signal)
        if not self._reap_until_ended(time.monotonic() + self._grace_seconds):
            self._kill()

    @staticmethod
    def _tell(**report: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # The owner has ended.
            os.write(1, json.dumps(report).encode() + b"\n")


def main() -> None:
    """Run the guard until the owner ends, then remove the folders given as arguments."""
    folders = sys.argv[1:]
    try:
        Guard().run()
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
