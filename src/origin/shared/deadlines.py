"""How long a piece of work may go on."""

import threading
import time

_shutdown_requested = threading.Event()


def request_shutdown() -> None:
    """Have all work of this process given back: it was asked to end."""
    _shutdown_requested.set()


def interruptible_sleep(seconds: float) -> None:
    """Wait so long, or until the process is asked to end."""
    _shutdown_requested.wait(seconds)


class Deadline:
    """A moment by which work is to be given back; at once where the process is asked to end.

    :param seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Whether nothing new should be begun."""
        return _shutdown_requested.is_set() or time.monotonic() > self._at
