"""Runs long computations outside the gevent loop, so that other requests continue meanwhile."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 2
"""More threads would only wait for the interpreter's lock."""


def run_in_native_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` and return its result; under gevent in a native thread.

    :param work: Only computes: it must not wait, log or do input and output.
    """
    # Imported here, because the command line does not need it.
    from gevent import monkey

    if not monkey.is_module_patched("threading"):
        return work(*args, **kwargs)
    result: T = _threads().apply(work, args, kwargs)
    return result


@lru_cache(maxsize=1)
def _threads() -> Any:
    """Return our own pool; the hub's pool resolves host names."""
    from gevent.threadpool import ThreadPool

    return ThreadPool(_THREADS)
