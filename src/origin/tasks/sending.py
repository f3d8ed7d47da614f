"""Sends tasks through Redis as wake-ups: a name without arguments, and without a time to expire at.

Such a time would follow its sender's clock, and a worker whose clock is ahead would drop
fresh messages. While no worker runs, wake-ups that are swept regularly do not pile up: their number
is limited. Claimed periodic work (`origin.maintenance.service.schedules`) is sent once, and always.
"""

import logging
import time

from origin.redis_servers import failure_reason, redis_client
from origin.settings import Settings
from origin.tasks.celery import SWEPT, create_celery
from origin.telemetry.tasks import task_headers

log = logging.getLogger(__name__)

MAX_WAITING = 100
"""How many messages Redis's queue may have. Beyond that, another wake-up would be of no use."""
_TIMEOUT_S = 1.0
_PAUSE_S = 5.0
"""How long nothing is sent after a failure: a hanging Redis must not slow every request."""


class WakeupSender:
    """Sends wake-ups through Redis; connects to nothing before the first.

    A wake-up that cannot be sent is logged and lost: Beat's next sweep replaces it.
    """

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, broker_timeout_s=_TIMEOUT_S)
        self._queue = self._celery.conf.task_default_queue
        self._redis = redis_client(settings, settings.redis_broker_db, _TIMEOUT_S)
        self._paused_until = 0.0

    def send(self, task: str, headers: dict[str, str] | None = None) -> bool:
        """Wake a worker for this task; return False if Redis fails now or failed just before.

        :param headers: Trace headers of the request that caused it; None: of the current one.
        """
        if time.monotonic() < self._paused_until:
            return False
        try:
            if task not in SWEPT or self._count_waiting() < MAX_WAITING:
                self._celery.send_task(
                    task,
                    headers=task_headers() if headers is None else headers,
                    # Otherwise Celery subscribes to the result. Without Redis it retries that for 20 s.
                    ignore_result=True,
                )
        # Any error of Redis or its client: the request's own work is done and must be answered.
        except Exception as error:  # noqa: BLE001
            self._paused_until = time.monotonic() + _PAUSE_S
            # The connection may lead to a server that has become a replica.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            log.warning("Wake-up not sent: %s", failure_reason(error), extra={"task": task})
            return False
        return True

    def _count_waiting(self) -> int:
        """Count the messages in the queue.

        :raises redis.RedisError: the server cannot be written to, and its count means nothing.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            # Redis keeps a queue as a list of its name. This trim cuts nothing, but it is a write,
            # which a replica rejects.
            pipeline.ltrim(self._queue, 0, -1)
            pipeline.llen(self._queue)
            return int(pipeline.execute()[1])
