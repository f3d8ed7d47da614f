"""Wake-ups for the workers."""

import logging
import time
from collections import defaultdict

from origin.settings import Settings
from origin.tasks.celery import (
    BATCHES,
    DATAHUB_JOBS,
    DELIVERIES,
    STALE_AFTER_S,
    create_celery,
)
from origin.telemetry.tasks import task_headers

log = logging.getLogger(__name__)

_TIMEOUT_S = 1.0
GATHER_S = 0.25
"""How much later than wanted a wake-up may come."""
_PAUSE_S = 5.0
"""After a failure no wake-up is tried for so long: a hanging Redis must not slow every answer."""


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


class CeleryHints:
    """Sends wake-ups through Redis. One that can't be sent is logged: the sweep comes anyway."""

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, broker_timeout_s=_TIMEOUT_S)
        self._silent_until = 0.0
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
        if time.monotonic() < self._silent_until:
            return
        try:
            self._celery.send_task(
                task,
                countdown=delay_s or None,
                expires=delay_s + STALE_AFTER_S,
                headers=task_headers(),
                # Else Celery subscribes to the result, and insists for 20 s where Redis is down.
                ignore_result=True,
            )
        # Whatever Redis or its client comes up with: the work itself is done and must be answered.
        except Exception as error:  # noqa: BLE001
            self._silent_until = time.monotonic() + _PAUSE_S
            log.warning("Wake-up not sent: %s", type(error).__name__, extra={"task": task})
