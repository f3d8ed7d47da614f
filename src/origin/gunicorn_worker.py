"""Gunicorn's gevent worker, but for how it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]


class DrainingWorker(GeventWorker):  # type: ignore[misc] # no types
    """On SIGTERM it shuts the connections on which nothing is being said.

    Gunicorn's own waits for them as for requests, for all of `graceful_timeout`: proxies keep theirs
    open, so that no web would end within a container engine's patience.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._silent: dict[gevent.Timeout, Any] = {}

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """How long to wait for a connection's next request; the block just ends when that is over."""
        with gevent.Timeout(self.cfg.keepalive if self.alive else 0) as timeout:
            self._silent[timeout] = gevent.getcurrent()
            try:
                yield
            except gevent.Timeout as over:
                if over is not timeout:
                    raise
            finally:
                del self._silent[timeout]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: what is being answered goes on, who only waits is let go."""
        super().handle_exit(sig, frame)
        for timeout, greenlet in list(self._silent.items()):
            greenlet.kill(timeout, block=False)
