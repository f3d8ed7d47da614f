"""Lets a web say at SIGTERM that it isn't ready, some seconds before it stops (DRAIN_SECONDS).

A load balancer learns from `/health/ready` that the web goes, while the web still answers. Otherwise the
balancer's next requests would find a closed port.
"""

import mmap
import signal
from typing import Any

_flag = mmap.mmap(-1, 1)
"""Shared memory of gunicorn's master and its workers: the master imports this module, then forks."""


def is_stopping() -> bool:
    """Return whether this web has got SIGTERM."""
    return _flag[0] == 1


def announce_at_sigterm(seconds: float) -> None:
    """Have the master's SIGTERM wait for this time, in which the web isn't ready. A second one doesn't wait.

    Call it in the master, after gunicorn has set its handlers.
    """
    if not seconds:
        return
    stop: Any = signal.getsignal(signal.SIGTERM)

    def begin(number: int, frame: Any) -> None:
        if is_stopping():
            stop(number, frame)
            return
        _flag[0] = 1
        signal.setitimer(signal.ITIMER_REAL, seconds)

    signal.signal(signal.SIGALRM, lambda _, frame: stop(signal.SIGTERM, frame))
    signal.signal(signal.SIGTERM, begin)
