"""Answers that are fetched while the ones before are worked on."""

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_TO_SEND_S = 0.0005
"""Time enough to send a request."""

K = TypeVar("K")
T = TypeVar("T")


def prefetch(fetch: Callable[[K], tuple[T, K | None]], first: K) -> Generator[T, None, None]:
    """What `fetch` gives for one key after the other, each fetched while its forerunner is worked on.

    Who stops early leaves a call that is under way to its own time limit, unheard.

    :param fetch: Returns what it found, and the key of the next call, None after the last.
    """
    pool = ThreadPoolExecutor(1)
    try:
        upcoming = pool.submit(copy_context().run, fetch, first)
        while True:
            found, following = upcoming.result()
            if following is None:
                yield found
                return
            upcoming = pool.submit(copy_context().run, fetch, following)
            # Where greenlets are threads, its request would leave no sooner than the work is done.
            time.sleep(_TO_SEND_S)
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
