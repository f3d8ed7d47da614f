"""Connections on which nothing is being said: they wait for so long, and give way to others."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import gevent

_HEARD_S = 0.01
"""For what has come and hasn't been read yet."""
_PATIENCE_S = 0.2
"""A client may take so long to say something, however many others wait for its place."""
_TELL_S = 60.0
"""It is told no more often."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wait:
    greenlet: Any
    is_request: bool
    since: float = field(default_factory=time.monotonic)


class SilentConnections:
    """A process' connections that wait for their clients, the longest silent first.

    When the last of the process' places is taken, the longest silent are shut, for others to come.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._open = 0
        self._is_ending = False
        self._waits: dict[gevent.Timeout, _Wait] = {}
        self._clearing: gevent.Greenlet[[], None] | None = None
        self._told = -_TELL_S

    @contextmanager
    def place(self) -> Iterator[None]:
        """A connection takes one of the places for as long as the block runs."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def silence(self, longest_s: float) -> Iterator[None]:
        """The block waits for a client; it just ends when that takes too long or others need the place."""
        with gevent.Timeout(longest_s) as timeout:
            try:
                with self._waiting(timeout, is_request=False):
                    yield
            except gevent.Timeout as over:
                if over is not timeout:
                    raise

    def request(self, timeout: gevent.Timeout) -> AbstractContextManager[None]:
        """The block waits for the rest of a request; `timeout` is raised when others need the place."""
        return self._waiting(timeout, is_request=True)

    def end(self) -> None:
        """Let all go that have no request under way, and from now on each as soon as it is silent."""
        self._is_ending = True
        for timeout, wait in list(self._waits.items()):
            if not wait.is_request:
                self._let_go(timeout)

    @contextmanager
    def _waiting(self, timeout: gevent.Timeout, *, is_request: bool) -> Iterator[None]:
        self._waits[timeout] = _Wait(gevent.getcurrent(), is_request)
        if self._is_ending and not is_request:
            self._let_go(timeout)
        elif self._open >= self._places and not self._clearing:
            self._clearing = gevent.spawn(self._clear)
        try:
            yield
        finally:
            del self._waits[timeout]

    def _clear(self) -> None:
        """Let the longest silent go, a tenth of all at a time, until there is a place."""
        if time.monotonic() >= self._told + _TELL_S:
            self._told = time.monotonic()
            log.warning("All %s places are taken: silent connections give way", self._places)
        while self._open >= self._places and self._waits:
            latest = time.monotonic() - _PATIENCE_S
            oldest = list(islice(self._waits.items(), max(self._places // 10, 1)))
            for timeout, wait in oldest:
                if wait.since <= latest:
                    self._let_go(timeout)
            _, first = oldest[0]
            gevent.sleep(max(first.since - latest, 2 * _HEARD_S))

    def _let_go(self, timeout: gevent.Timeout) -> None:
        loop = gevent.get_hub().loop
        # Its clock stands still while greenlets work.
        loop.update_now()
        # After the reads that are due at the same time: what has come by then is answered.
        gevent.spawn_later(_HEARD_S, loop.run_callback, self._end_silence, timeout)

    def _end_silence(self, timeout: gevent.Timeout) -> None:
        # Looked for and thrown in one: a request that has begun is none of its business.
        if timeout in self._waits:
            self._waits[timeout].greenlet.throw(timeout)
