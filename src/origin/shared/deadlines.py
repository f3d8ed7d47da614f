"""Time limits and sleeps, which end early when the process shuts down."""

import threading
import time

_shutdown_requested = threading.Event()


def request_shutdown() -> None:
    """End all deadlines and sleeps of this process, because it shuts down."""
    _shutdown_requested.set()


def interruptible_sleep(seconds: float) -> None:
    """Sleep this long, or until the process shuts down."""
    _shutdown_requested.wait(seconds)


class Deadline:
    """The time limit of a piece of work. It is over early if the process shuts down.

    :param seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Return whether the work must not start anything new."""
        return _shutdown_requested.is_set() or time.monotonic() > self._at
