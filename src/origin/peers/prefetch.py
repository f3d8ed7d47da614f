"""Fetches the next page while the caller works on the current one."""

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_TO_SEND_S = 0.0005
"""Long enough to send a request."""

K = TypeVar("K")
T = TypeVar("T")


def prefetch(fetch: Callable[[K], tuple[T, K | None]], first: K) -> Generator[T, None, None]:
    """Yield the results of `fetch`, one key after the other. The next call runs meanwhile.

    If the caller stops early, a running call ends by its own timeout and its result is dropped.

    :param fetch: Returns its result and the key of the next call, None after the last. It runs in
        another thread, in the caller's context variables, and its exceptions reach the caller.
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
            # Under gevent the thread is a greenlet: without a switch to it here, its request would
            # leave only after the caller's work.
            time.sleep(_TO_SEND_S)
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
