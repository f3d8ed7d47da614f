"""Wake-ups for the workers."""

import logging
import time

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
_GATHER_S = 0.25
_PAUSE_S = 5.0
"""After a failure no wake-up is tried for so long: a hanging Redis must not slow every answer."""


class CeleryHints:
    """Sends wake-ups through Redis. One that can't be sent is logged: the sweep comes anyway."""

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, broker_timeout_s=_TIMEOUT_S)
        self._silent_until = 0.0
        self._gathered_after: dict[str, float] = {}

    def batches_due(self, delay_s: float = 0) -> None:
        """Batches want to go to the ledger, now or in so many seconds."""
        if delay_s:
            self._send(BATCHES, delay_s)
        else:
            self._gather(BATCHES)

    def datahub_jobs_due(self) -> None:
        """DataHub is to be told or asked something."""
        self._send(DATAHUB_JOBS, 0)

    def deliveries_due(self) -> None:
        """Webhooks want to go to subscribers."""
        self._gather(DELIVERIES)

    def _gather(self, task: str) -> None:
        """Send one wake-up for all that want it within `_GATHER_S`.

        The later of two goes out with a delay, and whoever comes before it is due needs none: what
        the wake-up is for has been committed by then.
        """
        now, after = time.monotonic(), self._gathered_after.get(task, 0.0)
        if now >= after:
            self._gathered_after[task] = now + _GATHER_S
            self._send(task, 0)
        elif now >= after - _GATHER_S:
            self._gathered_after[task] = after + _GATHER_S
            self._send(task, after - now)

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
