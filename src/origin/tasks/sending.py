"""How tasks are sent: as wake-ups, which carry nothing but their name, and no time either.

A time in a message would be by its sender's clock, and a worker whose clock is ahead would drop what
is fresh. Those that are sent time and again don't pile up where no worker runs: their number is limited.
What is claimed (`origin.maintenance.service.schedules`) is sent but once, and in any case.
"""

import logging
import time

import redis

from origin.settings import Settings
from origin.tasks.celery import SWEPT, create_celery
from origin.telemetry.tasks import task_headers

log = logging.getLogger(__name__)

MOST_WAITING = 100
"""With as many in Redis's queue, another one would tell the workers nothing new."""
_TIMEOUT_S = 1.0
_PAUSE_S = 5.0
"""After a failure no wake-up is tried for so long: a hanging Redis must not slow every answer."""


class WakeupSender:
    """Sends wake-ups through Redis; connects to nothing before the first.

    One that can't be sent is logged: Beat's next sweep comes anyway.
    """

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, broker_timeout_s=_TIMEOUT_S)
        self._queue = self._celery.conf.task_default_queue
        self._redis = redis.Redis.from_url(
            settings.broker_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self._silent_until = 0.0

    def send(self, task: str, headers: dict[str, str] | None = None) -> bool:
        """Wake a worker for this task; False where Redis failed just now.

        :param headers: Of the request that it is sent for; those of the one at hand, if not given.
        """
        if time.monotonic() < self._silent_until:
            return False
        try:
            # Redis keeps a queue as a list of its name.
            if task not in SWEPT or self._waiting() < MOST_WAITING:
                self._celery.send_task(
                    task,
                    headers=task_headers() if headers is None else headers,
                    # Else Celery subscribes to the result, and insists for 20 s where Redis is down.
                    ignore_result=True,
                )
        # Whatever Redis or its client comes up with: the work itself is done and must be answered.
        except Exception as error:  # noqa: BLE001
            self._silent_until = time.monotonic() + _PAUSE_S
            # It may lead to a server that is a replica by now.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            log.warning("Wake-up not sent: %s", type(error).__name__, extra={"task": task})
            return False
        return True

    def _waiting(self) -> int:
        """How many wake-ups wait.

        :raises redis.RedisError: nothing can be written there; the number would tell nothing.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            # Nothing is cut off. But it is a write, which a replica refuses.
            pipeline.ltrim(self._queue, 0, -1)
            pipeline.llen(self._queue)
            return int(pipeline.execute()[1])
