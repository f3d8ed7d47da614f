"""Shared by all kinds of faults: weighted actions, and actions that end a fault after a delay."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from devstack.guarded import ProcessFailedError
from devstack.processes import SupervisedProcess


@dataclass(frozen=True, slots=True)
class FaultAction:
    """A fault with its weight in random draws. `do` returns False if it is impossible now."""

    weight: int
    do: Callable[[], object]


class DelayedActions:
    """Actions that end lasting faults; each runs once, when it is due or by `run_all`."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, end: Callable[[], object]) -> None:
        """Schedule `end` in this many seconds."""
        self._ends.append((time.monotonic() + seconds, end))

    def run_due(self) -> None:
        """Run the actions that are due."""
        now = time.monotonic()
        due = [end for at, end in self._ends if at <= now]
        self._ends = [each for each in self._ends if each[0] > now]
        for end in due:
            end()

    def run_all(self) -> None:
        """Run all remaining actions in order of time."""
        left, self._ends = self._ends, []
        for _, end in sorted(left, key=lambda each: each[0]):
            end()


def is_ready(process: SupervisedProcess) -> bool:
    """Return whether the process runs and is ready."""
    if process.pid is None:
        return False
    try:
        process.wait_until_ready(timeout=0)
    except ProcessFailedError:
        return False
    return True
