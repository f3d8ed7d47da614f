"""How much may go to one host at a time, counted in this process."""

import threading
from collections import Counter
from collections.abc import Mapping

PER_HOST = 20
"""Lanes that may be on their way to one host."""
PER_SILENT_HOST = 2
"""And to one whose last attempt had no answer."""


class HostLimits:
    """Counts the lanes on their way to each host. Safe for threads.

    Hold `claiming` from asking what is free to taking it, so that two don't take the same.
    """

    def __init__(self) -> None:
        self.claiming = threading.Lock()
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._silent: set[str] = set()

    def free(self) -> Mapping[str, int]:
        """How many more may go to each host of which that isn't `PER_HOST`."""
        with self._lock:
            return {
                host: (PER_SILENT_HOST if host in self._silent else PER_HOST) - self._busy[host]
                for host in self._busy.keys() | self._silent
            }

    def take(self, host: str) -> None:
        """One more is on its way."""
        with self._lock:
            self._busy[host] += 1

    def give_back(self, host: str) -> None:
        """One less is."""
        with self._lock:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]

    def note(self, host: str, *, answered: bool) -> None:
        """Tell whether the host has answered the last attempt."""
        with self._lock:
            if answered:
                self._silent.discard(host)
            else:
                self._silent.add(host)
