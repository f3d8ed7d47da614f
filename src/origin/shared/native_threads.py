"""Long computing beside the gevent loop, so that other requests go on meanwhile."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 2
"""More would only share the interpreter's lock."""


def run_in_native_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns or raises; where gevent rules it runs in a thread of the system's.

    :param work: Computes, and neither waits, logs nor calls anybody.
    """
    # Imported when needed: the command line has no use for it.
    from gevent import monkey

    if not monkey.is_module_patched("threading"):
        return work(*args, **kwargs)
    result: T = _threads().apply(work, args, kwargs)
    return result


@lru_cache(maxsize=1)
def _threads() -> Any:
    """A pool of its own: the hub's resolves names."""
    from gevent.threadpool import ThreadPool

    return ThreadPool(_THREADS)
