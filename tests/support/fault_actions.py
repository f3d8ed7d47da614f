"""What breaking things has in common: acts with weights, and faults that end by themselves delayed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from devstack.guarded import ProcessFailedError
from devstack.processes import SupervisedProcess


@dataclass(frozen=True, slots=True)
class FaultAction:
    """Something that can be broken. `do` returns False where that is impossible at this moment."""

    weight: int
    do: Callable[[], object]


class DelayedActions:
    """The ends of faults that last: each is called once, when its time has come or all are over."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, end: Callable[[], object]) -> None:
        """Call `end` in so many seconds."""
        self._ends.append((time.monotonic() + seconds, end))

    def run_due(self) -> None:
        """Call those whose time has come."""
        now = time.monotonic()
        due = [end for at, end in self._ends if at <= now]
        self._ends = [each for each in self._ends if each[0] > now]
        for end in due:
            end()

    def run_all(self) -> None:
        """Call all that are left, in their order."""
        left, self._ends = self._ends, []
        for _, end in sorted(left, key=lambda each: each[0]):
            end()


def is_ready(process: SupervisedProcess) -> bool:
    """Whether it runs and has begun its work."""
    if process.pid is None:
        return False
    try:
        process.wait_until_ready(timeout=0)
    except ProcessFailedError:
        return False
    return True
