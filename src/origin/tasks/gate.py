"""Keeps one kind of work from taking all of a worker's greenlets."""

import threading
import time
from collections.abc import Callable


class Gate:
    """Lets few run at a time, and one where one suffices.

    Each compose wakes the workers: ten thousand of them must not fill the worker with ten thousand
    runs of the same work, in front of all other tasks. And work costs less, the more is done at once.

    :param at_once: How many may run at a time.
    :param patience_s: A call leaves its work to who has looked for some within that time, as he soon
        looks again; if he doesn't, he is held up, and the next call goes to work beside him.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._lock = threading.Lock()
        self._at_once = at_once
        self._patience_s = patience_s
        self._inside = 0
        self._looked = 0.0
        self._missed = False

    def run(self, work: Callable[[Callable[[], None]], object]) -> None:
        """Work now, or leave it to one that works already.

        :param work: Calls what it is given before each further look for what there is to do.
        """
        with self._lock:
            is_awaited = self._inside and time.monotonic() < self._looked + self._patience_s
            if is_awaited or self._inside == self._at_once:
                self._missed = True
                return
            self._inside += 1
        is_over = False
        while not is_over:
            self._look()
            try:
                work(self._look)
            except BaseException:
                with self._lock:
                    self._inside -= 1
                raise
            with self._lock:
                is_over = not self._missed
                if is_over:
                    self._inside -= 1

    def _look(self) -> None:
        with self._lock:
            self._looked = time.monotonic()
            self._missed = False
