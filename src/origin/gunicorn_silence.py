"""Connections on which nothing is being said: they wait for so long, and give way to others."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import gevent

_HEARD_S = 0.01
"""For what has come and hasn't been read yet."""
_PATIENCE_S = 0.2
"""A client may take so long to say something, however many others wait for its place."""


class SilentConnections:
    """A process' connections without a request under way, the longest silent first.

    When the last of the process' places is taken, the longest silent are shut, for others to come.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._open = 0
        self._is_ending = False
        self._silent: dict[gevent.Timeout, tuple[Any, float]] = {}
        self._clearing: gevent.Greenlet | None = None

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
            self._silent[timeout] = (gevent.getcurrent(), time.monotonic())
            if self._is_ending:
                self._let_go(timeout)
            elif self._open >= self._places and not self._clearing:
                self._clearing = gevent.spawn(self._clear)
            try:
                yield
            except gevent.Timeout as over:
                if over is not timeout:
                    raise
            finally:
                del self._silent[timeout]

    def end(self) -> None:
        """Let all go, and from now on each as soon as it is silent."""
        self._is_ending = True
        for timeout in list(self._silent):
            self._let_go(timeout)

    def _clear(self) -> None:
        """Let the longest silent go, a tenth of all at a time, until there is a place."""
        while self._open >= self._places and self._silent:
            latest = time.monotonic() - _PATIENCE_S
            oldest = list(islice(self._silent.items(), max(self._places // 10, 1)))
            for timeout, (_, since) in oldest:
                if since <= latest:
                    self._let_go(timeout)
            _, (_, first) = oldest[0]
            gevent.sleep(max(first - latest, 2 * _HEARD_S))

    def _let_go(self, timeout: gevent.Timeout) -> None:
        loop = gevent.get_hub().loop
        # Its clock stands still while greenlets work.
        loop.update_now()
        # After the reads that are due at the same time: what has come by then is answered.
        gevent.spawn_later(_HEARD_S, loop.run_callback, self._end_silence, timeout)

    def _end_silence(self, timeout: gevent.Timeout) -> None:
        # Looked for and thrown in one: a request that has begun is none of its business.
        if timeout in self._silent:
            self._silent[timeout][0].throw(timeout)
