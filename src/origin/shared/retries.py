"""When to try again."""

import random

GROWTH = 1.5
LONGEST_FACTOR = 30.0
"""Backing off ends at this many times the first delay."""
JITTER = 0.2


def backoff_s(first_s: float, attempts: int, *, longest_factor: float = LONGEST_FACTOR) -> float:
    """Seconds to wait after so many attempts (1 or more), growing and jittered by ±20 %.

    The jitter keeps what failed together from coming back together.
    """
    # The exponent is bounded: a float overflows at a few thousand attempts.
    factor = min(GROWTH ** min(max(attempts - 1, 0), 50), longest_factor)
    return first_s * factor * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
