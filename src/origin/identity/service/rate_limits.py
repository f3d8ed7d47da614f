"""How many requests an account may make, counted in Redis, a minute at a time.

A convenience for neighbours, not a guard: where Redis can't tell, everybody may.
"""

import logging
import time

import redis

from origin.settings import Settings
from origin.telemetry.metrics import RATE_LIMIT_FAILURES, RATE_LIMITED

_WINDOW_S = 60
_TIMEOUT_S = 0.25
_PAUSE_S = 5.0
"""After a failure Redis isn't asked for so long: a hanging one must not slow every answer."""

log = logging.getLogger(__name__)


class RateLimits:
    """Counts the requests of accounts; connects to nothing before the first."""

    def __init__(self, settings: Settings) -> None:
        self.per_minute = settings.rate_limit_per_minute
        self._silent_until = 0.0
        self._redis = redis.Redis.from_url(
            settings.cache_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )

    def wait_s(self, caller: int | str) -> int:
        """Count a request of this caller; how many seconds it must wait, 0 where it may go on.

        :param caller: The account's id, or a name for one who has no account.
        """
        if not self.per_minute or time.monotonic() < self._silent_until:
            return 0
        key = f"requests:{caller}"
        try:
            with self._redis.pipeline() as pipeline:
                # The window begins with its first request, and ends by Redis's clock.
                pipeline.set(key, 0, ex=_WINDOW_S, nx=True)
                pipeline.incr(key)
                pipeline.ttl(key)
                _, count, left_s = pipeline.execute()
            if left_s < 0:
                # It ended between the two, and the count began anew without an end.
                self._redis.expire(key, _WINDOW_S)
        except redis.RedisError as error:
            self._silent_until = time.monotonic() + _PAUSE_S
            # It may lead to a server that is a replica by now.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            RATE_LIMIT_FAILURES.inc()
            log.warning("Requests aren't counted: %s", type(error).__name__)
            return 0
        if count <= self.per_minute:
            return 0
        RATE_LIMITED.inc()
        return int(min(max(left_s, 1), _WINDOW_S))
