"""Threads that keep their caller's request id and trace."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class ContextThreadPool(ThreadPoolExecutor):
    """A thread pool whose work sees the context variables of the code that submits it.

    A thread (under gevent, a greenlet) begins with an empty context: in a plain pool, log lines would
    have no request id, and calls to peers would begin new traces.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run the function in a copy of the current context."""
        return super().submit(copy_context().run, fn, *args, **kwargs)
