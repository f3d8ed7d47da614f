"""Wake-ups of workers through Celery, now or later, several merged into one."""

import threading
import time
from collections import defaultdict

from origin.tasks.celery import BATCHES, BULK, DATAHUB_JOBS, DELIVERIES
from origin.tasks.sending import WakeupSender
from origin.telemetry.tasks import task_headers

MERGE_S = 0.25
"""How much later than wanted a wake-up may come."""


class WakeupMerger:
    """Merges wake-ups of one kind: one serves all callers that want it within `MERGE_S`."""

    def __init__(self) -> None:
        self._due = float("-inf")

    def after_s(self, now: float, delay_s: float) -> float | None:
        """Return in how many seconds to send the wake-up that is wanted in `delay_s` seconds.

        None: an earlier call's wake-up comes in time. The caller has committed its work, so that
        wake-up finds it.
        """
        wanted = now + delay_s
        if wanted <= self._due <= wanted + MERGE_S:
            return None
        due = max(wanted, self._due + MERGE_S) if self._due < wanted else wanted
        self._due = due
        return due - now


class CeleryWakeups:
    """Wakes the workers by Celery tasks."""

    def __init__(self, sender: WakeupSender) -> None:
        self._sender = sender
        self._mergers: dict[tuple[str, bool], WakeupMerger] = defaultdict(WakeupMerger)
        """By task, and whether it is wanted later: a late one does not serve work that is due now."""

    def batches_due(self, delay_s: float = 0) -> None:
        """Wake a worker for due batches, now or in `delay_s` seconds."""
        self._send_merged(BATCHES, delay_s)

    def datahub_jobs_due(self) -> None:
        """Wake a worker for due jobs at DataHub."""
        self._sender.send(DATAHUB_JOBS)

    def deliveries_due(self) -> None:
        """Wake a worker for due webhook deliveries."""
        self._send_merged(DELIVERIES, 0)

    def bulk_due(self) -> None:
        """Wake a worker for queued bulk orders."""
        self._send_merged(BULK, 0)

    def _send_merged(self, task: str, delay_s: float) -> None:
        merger = self._mergers[task, delay_s > 0]
        after_s = merger.after_s(time.monotonic(), delay_s)
        if after_s is None:
            return
        if after_s <= 0:
            self._sender.send(task)
            return
        # This process waits, by no clock. If it ends before, Beat's next sweep replaces the wake-up.
        timer = threading.Timer(after_s, self._sender.send, (task, task_headers()))
        timer.daemon = True
        timer.start()
