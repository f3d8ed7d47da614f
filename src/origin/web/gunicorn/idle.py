"""Idle connections: each waits for its client for a bounded time, and makes room for new ones."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import gevent

_UNREAD_S = 0.01
"""Before a connection is closed: time to read what has arrived already."""
_PATIENCE_S = 0.2
"""A client may stay idle for this long even if others wait for its place."""
_WARN_S = 60.0
"""The shortest time between two warnings."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wait:
    greenlet: Any
    is_request: bool
    since: float = field(default_factory=time.monotonic)


class IdleConnections:
    """The connections of a process that wait for their clients, the longest idle first.

    When all places of the process are taken, the longest idle connections are closed.

    :param places: How many connections the process accepts at a time.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._open = 0
        self._is_shutting_down = False
        self._waits: dict[gevent.Timeout, _Wait] = {}
        self._clearing: gevent.Greenlet[[], None] | None = None
        self._warned_at = -_WARN_S

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places while the block runs."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def idle(self, longest_s: float) -> Iterator[None]:
        """Let the block wait for a client.

        The block ends without an error after `longest_s`, or when another client needs the place.
        """
        with gevent.Timeout(longest_s) as timeout:
            try:
                with self._waiting(timeout, is_request=False):
                    yield
            except gevent.Timeout as over:
                if over is not timeout:
                    raise

    def request(self, timeout: gevent.Timeout) -> AbstractContextManager[None]:
        """Let the block wait for the rest of a request.

        `timeout` is raised in the block when another client needs the place.
        """
        return self._waiting(timeout, is_request=True)

    def shut_down(self) -> None:
        """Close all connections without a running request, and later ones as soon as they are idle."""
        self._is_shutting_down = True
        for timeout, wait in list(self._waits.items()):
            if not wait.is_request:
                self._interrupt_soon(timeout)

    @contextmanager
    def _waiting(self, timeout: gevent.Timeout, *, is_request: bool) -> Iterator[None]:
        self._waits[timeout] = _Wait(gevent.getcurrent(), is_request)
        if self._is_shutting_down and not is_request:
            self._interrupt_soon(timeout)
        elif self._open >= self._places and not self._clearing:
            self._clearing = gevent.spawn(self._clear)
        try:
            yield
        finally:
            del self._waits[timeout]

    def _clear(self) -> None:
        """Close the longest idle connections, a tenth of all at a time, until a place is free."""
        if time.monotonic() >= self._warned_at + _WARN_S:
            self._warned_at = time.monotonic()
            log.warning("All %s places are taken: closing idle connections", self._places)
        while self._open >= self._places and self._waits:
            latest = time.monotonic() - _PATIENCE_S
            oldest = list(islice(self._waits.items(), max(self._places // 10, 1)))
            for timeout, wait in oldest:
                if wait.since <= latest:
                    self._interrupt_soon(timeout)
            _, first = oldest[0]
            gevent.sleep(max(first.since - latest, 2 * _UNREAD_S))

    def _interrupt_soon(self, timeout: gevent.Timeout) -> None:
        loop = gevent.get_hub().loop
        # The loop's clock stands still while greenlets work.
        loop.update_now()
        # After the reads that are due at the same time, so that arrived requests are answered.
        gevent.spawn_later(_UNREAD_S, loop.run_callback, self._interrupt, timeout)

    def _interrupt(self, timeout: gevent.Timeout) -> None:
        # No other greenlet runs between check and throw, so no request can have begun in between.
        if timeout in self._waits:
            self._waits[timeout].greenlet.throw(timeout)
