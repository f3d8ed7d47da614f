"""Single-flight: keeps one kind of work from taking all of a worker's greenlets."""

import threading
import time
from collections.abc import Callable


class SingleFlight:
    """Runs work a few times at once at most, and only once while one run suffices.

    Each compose wakes the workers. Without this, ten thousand composes would fill a worker with ten
    thousand runs of the same work, ahead of all other tasks. One run that does more is also cheaper
    than many runs.

    :param at_once: How many runs there may be at a time.
    :param patience_s: A call is skipped if another run polled within this time, as that run will soon
        poll again. A run that has not polled for longer is held up: the next call runs beside it.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._lock = threading.Lock()
        self._at_once = at_once
        self._patience_s = patience_s
        self._polled_at: dict[object, float] = {}
        """When each current run last polled for work."""
        self._was_skipped = False
        """Whether a call was skipped since a run last polled."""

    def run(self, work: Callable[[Callable[[], None]], object]) -> bool:
        """Run the work now, or skip it if another run will do it.

        A call that is skipped while a run is about to end makes that run work once more.

        :param work: Gets a function that it calls before each further poll for work.
        :returns: False if it was skipped. The other run may fail or be held up: the caller should
            ask again after `patience_s`.
        """
        this, now = object(), time.monotonic()
        with self._lock:
            polls_soon = any(now < polled + self._patience_s for polled in self._polled_at.values())
            if polls_soon or len(self._polled_at) == self._at_once:
                self._was_skipped = True
                return False
            self._polled_at[this], self._was_skipped = now, False
        try:
            while True:
                work(lambda: self._poll(this))
                with self._lock:
                    if not self._was_skipped:
                        del self._polled_at[this]
                        return True
                    self._polled_at[this], self._was_skipped = time.monotonic(), False
        except BaseException:
            with self._lock:
                self._polled_at.pop(this, None)
            raise

    def _poll(self, run: object) -> None:
        with self._lock:
            self._polled_at[run], self._was_skipped = time.monotonic(), False
