"""Rate limits: requests of an account, counted in Redis in windows of a minute.

They protect accounts from each other's load, and are no security measure: if Redis fails, all
requests are admitted.
"""

import logging
import time

import redis

from origin.redis_servers import failure_reason, redis_client
from origin.settings import Settings
from origin.telemetry.metrics import RATE_LIMIT_FAILURES, RATE_LIMITED

_WINDOW_S = 60
_TIMEOUT_S = 0.25
_PAUSE_S = 5.0
"""How long Redis is not asked after a failure: a hanging server must not slow every request."""

log = logging.getLogger(__name__)


class RateLimits:
    """Counts the requests of accounts. Connects at the first request."""

    def __init__(self, settings: Settings) -> None:
        self.per_minute = settings.rate_limit_per_minute
        self._paused_until = 0.0
        self._redis = redis_client(settings, settings.redis_cache_db, _TIMEOUT_S)

    def wait_s(self, caller: int | str) -> int:
        """Count a request of this caller; return how many seconds it must wait, 0 if none.

        :param caller: The account's id, or a name for a caller without an account.
        """
        if not self.per_minute or time.monotonic() < self._paused_until:
            return 0
        key = f"requests:{caller}"
        try:
            with self._redis.pipeline() as pipeline:
                # The first request opens the window; Redis's clock ends it.
                pipeline.set(key, 0, ex=_WINDOW_S, nx=True)
                pipeline.incr(key)
                pipeline.ttl(key)
                _, count, left_s = pipeline.execute()
            if left_s < 0:
                # The window ended between SET and INCR, and INCR made a key without expiry.
                self._redis.expire(key, _WINDOW_S)
        except redis.RedisError as error:
            self._paused_until = time.monotonic() + _PAUSE_S
            # Its connections may lead to a server that has become a replica.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            RATE_LIMIT_FAILURES.inc()
            log.warning("Cannot count requests: %s", failure_reason(error))
            return 0
        if count <= self.per_minute:
            return 0
        RATE_LIMITED.inc()
        return int(min(max(left_s, 1), _WINDOW_S))
