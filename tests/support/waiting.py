"""Waits for the effects of other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05


def eventually(look: Callable[[], T], what: str, *, within: float = 30) -> T:
    """Call `look` until it returns a true value, and return that; AssertionError after `within` s."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}; last seen: {seen!r}")
        time.sleep(_POLL_SECONDS)
    return seen
