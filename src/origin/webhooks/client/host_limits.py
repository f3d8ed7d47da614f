"""Limits on how many delivery queues go to one host at a time, within this process."""

import threading
from collections import Counter
from collections.abc import Mapping

PER_HOST = 20
"""Delivery queues that may be in flight to one host."""
PER_SILENT_HOST = 2
"""Delivery queues that may be in flight to a host that did not answer the last attempt."""


class HostLimits:
    """Counts the delivery queues in flight to each host. Safe for threads.

    Hold `claiming` from calling `free` to calling `take`, so that two claims do not share a place.
    """

    def __init__(self) -> None:
        self.claiming = threading.Lock()
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._silent: set[str] = set()

    def free(self) -> Mapping[str, int]:
        """Return how many more queues may go to each host. All hosts that are not in it have PER_HOST."""
        with self._lock:
            return {
                host: (PER_SILENT_HOST if host in self._silent else PER_HOST)
                - self._in_flight[host]
                for host in self._in_flight.keys() | self._silent
            }

    def take(self, host: str) -> None:
        """Count one more queue in flight."""
        with self._lock:
            self._in_flight[host] += 1

    def give_back(self, host: str) -> None:
        """Count one queue less in flight."""
        with self._lock:
            self._in_flight[host] -= 1
            if not self._in_flight[host]:
                del self._in_flight[host]

    def note(self, host: str, *, answered: bool) -> None:
        """Note whether the host answered its last attempt."""
        with self._lock:
            if answered:
                self._silent.discard(host)
            else:
                self._silent.add(host)
