"""How many requests an account may make, counted in Redis by the minute of the clock.

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
        """Count a request of this account, or of a caller without one; how many seconds it must wait, 0 where it may go on."""
        if not self.per_minute or time.monotonic() < self._silent_until:
            return 0
        now = int(time.time())
        key = f"requests:{caller}:{now // _WINDOW_S}"
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, 2 * _WINDOW_S)
                count, _ = pipeline.execute()
        except redis.RedisError as error:
            self._silent_until = time.monotonic() + _PAUSE_S
            RATE_LIMIT_FAILURES.inc()
            log.warning("Requests aren't counted: %s", type(error).__name__)
            return 0
        if count <= self.per_minute:
            return 0
        RATE_LIMITED.inc()
        return _WINDOW_S - now % _WINDOW_S
