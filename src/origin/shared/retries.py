"""When to retry: growing, jittered delays."""

import random

GROWTH = 1.5
MAX_FACTOR = 30.0
"""A backoff grows to at most this many times the first delay."""
JITTER = 0.2


def backoff_s(first_s: float, attempts: int, *, max_factor: float = MAX_FACTOR) -> float:
    """Return the seconds to wait after this many attempts (1 or more), growing and jittered."""
    # The exponent is bounded: a float overflows at a few thousand attempts.
    factor = min(GROWTH ** min(max(attempts - 1, 0), 50), max_factor)
    return jittered(first_s * factor)


def jittered(seconds: float) -> float:
    """Return this delay ±20 %, so that work that failed together is not retried all at once."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
