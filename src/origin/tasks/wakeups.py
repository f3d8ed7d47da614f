"""Which wake-ups the workers get, and when."""

import threading
import time
from collections import defaultdict

from origin.tasks.celery import BATCHES, DATAHUB_JOBS, DELIVERIES
from origin.tasks.sending import WakeupSender
from origin.telemetry.tasks import task_headers

GATHER_S = 0.25
"""How much later than wanted a wake-up may come."""


class Gathering:
    """Wake-ups of one kind, of which one does for all that want it within `GATHER_S`."""

    def __init__(self) -> None:
        self._due = float("-inf")

    def after_s(self, now: float, delay_s: float) -> float | None:
        """In how many seconds the wake-up is to come that is wanted in `delay_s`, or a little later.

        None where one is on its way that comes then: what it is for has been committed by now.
        """
        wanted = now + delay_s
        if wanted <= self._due <= wanted + GATHER_S:
            return None
        due = max(wanted, self._due + GATHER_S) if self._due < wanted else wanted
        self._due = due
        return due - now


class CeleryWakeups:
    """Wakes the workers, now or later."""

    def __init__(self, wakeups: WakeupSender) -> None:
        self._wakeups = wakeups
        self._gatherings: dict[tuple[str, bool], Gathering] = defaultdict(Gathering)
        """By task, and whether it is wanted later."""

    def batches_due(self, delay_s: float = 0) -> None:
        """Batches want to go to the ledger, now or in so many seconds."""
        self._gather(BATCHES, delay_s)

    def datahub_jobs_due(self) -> None:
        """DataHub is to be told or asked something."""
        self._send(DATAHUB_JOBS, 0)

    def deliveries_due(self) -> None:
        """Webhooks want to go to subscribers."""
        self._gather(DELIVERIES, 0)

    def _gather(self, task: str, delay_s: float) -> None:
        # One that comes late is none for what is due now.
        after_s = self._gatherings[task, delay_s > 0].after_s(time.monotonic(), delay_s)
        if after_s is not None:
            self._send(task, after_s)

    def _send(self, task: str, delay_s: float) -> None:
        if delay_s <= 0:
            self._wakeups.send(task)
            return
        # It waits here, by no clock. Should this process end before, the next sweep does as well.
        timer = threading.Timer(delay_s, self._wakeups.send, (task, task_headers()))
        timer.daemon = True
        timer.start()
