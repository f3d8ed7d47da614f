"""Keeps one kind of work from taking all of a worker's greenlets."""

import threading
from collections.abc import Callable


class Gate:
    """Lets few run at a time; a call that is not let in has one of those run once more.

    Each compose wakes the workers: ten thousand of them must not fill the worker with ten
    thousand runs of the same work, in front of all other tasks.

    :param at_once: How many may run at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._lock = threading.Lock()
        self._free = at_once
        self._missed = False

    def run(self, work: Callable[[], object]) -> None:
        """Work now, or leave it to one that works already."""
        with self._lock:
            if not self._free:
                self._missed = True
                return
            self._free -= 1
        try:
            work()
            while self._take_missed():
                work()
        finally:
            with self._lock:
                self._free += 1

    def _take_missed(self) -> bool:
        with self._lock:
            missed, self._missed = self._missed, False
            return missed
