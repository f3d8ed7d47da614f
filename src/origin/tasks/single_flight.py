"""Keeps one kind of work from taking all of a worker's greenlets."""

import threading
import time
from collections.abc import Callable


class Gate:
    """Lets few run at a time, and one where one suffices.

    Each compose wakes the workers: ten thousand of them must not fill the worker with ten thousand
    runs of the same work, in front of all other tasks. And work costs less, the more is done at once.

    :param at_once: How many may run at a time.
    :param patience_s: A call leaves its work to one inside who has looked for some within that time, as
        he soon looks again; whoever doesn't is held up, and the next call goes to work beside him.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._lock = threading.Lock()
        self._at_once = at_once
        self._patience_s = patience_s
        self._looks: dict[object, float] = {}
        """When each one inside last looked."""
        self._missed = False

    def run(self, work: Callable[[Callable[[], None]], object]) -> bool:
        """Work now, or leave it to one that works already.

        :param work: Calls what it is given before each further look for what there is to do.
        :returns: False where it was left: who is held up or fails may not come to it, so that the
            caller should ask again in `patience_s`.
        """
        run, now = object(), time.monotonic()
        with self._lock:
            is_awaited = any(now < looked + self._patience_s for looked in self._looks.values())
            if is_awaited or len(self._looks) == self._at_once:
                self._missed = True
                return False
            self._looks[run], self._missed = now, False
        try:
            while True:
                work(lambda: self._look(run))
                with self._lock:
                    if not self._missed:
                        del self._looks[run]
                        return True
                    self._looks[run], self._missed = time.monotonic(), False
        except BaseException:
            with self._lock:
                self._looks.pop(run, None)
            raise

    def _look(self, run: object) -> None:
        with self._lock:
            self._looks[run], self._missed = time.monotonic(), False
