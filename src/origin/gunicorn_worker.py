"""Gunicorn's gevent worker, but for how it ends and how it sends."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

_JOINED_BYTES = 1 << 16
"""A body beyond that isn't copied to be sent with its head."""
_HEARD_S = 0.01
"""For what has come and hasn't been read yet."""


class _OneSend:
    """A client's socket that sends an answer's head together with what follows it.

    Gunicorn sends them apart, which costs a small answer a tenth of all its work, and a packet.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._head: bytes | None = None
        self._is_next_head = False
        self.recv = client.recv

    def __getattr__(self, name: str) -> Any:
        # Files are sent by other ways than `sendall`: none may overtake the head.
        self._send_head()
        return getattr(self._client, name)

    @contextmanager
    def answer(self) -> Iterator[None]:
        """The first that is sent in this block is an answer's head, and waits for what is next."""
        self._is_next_head = True
        try:
            yield
        finally:
            self._is_next_head = False
            self._send_head()

    def sendall(self, data: bytes) -> None:
        """As of any socket, but for the head."""
        if self._is_next_head:
            self._is_next_head, self._head = False, data
        elif self._head is not None and len(data) <= _JOINED_BYTES:
            head, self._head = self._head, None
            self._client.sendall(head + data)
        else:
            self._send_head()
            self._client.sendall(data)

    def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._client.sendall(head)


class OriginWorker(GeventWorker):  # type: ignore[misc] # no types
    """On SIGTERM it shuts the connections on which nothing is being said.

    Gunicorn's own waits for them as for requests, for all of `graceful_timeout`: proxies keep theirs
    open, so that no web would end within a container engine's patience.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._silent: dict[gevent.Timeout, Any] = {}

    def notify(self) -> None:
        """Once a second: tell the arbiter that this process lives, and others how its pool fares."""
        super().notify()
        # Imported when the application is loaded: gunicorn's master must not have it.
        metrics = sys.modules.get("origin.telemetry.metrics")
        if metrics is not None:
            metrics.tell_pools()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Answer what comes on a connection."""
        # TLS wraps the socket itself.
        super().handle(listener, client if self.cfg.is_ssl else _OneSend(client), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer one request."""
        with sock.answer() if isinstance(sock, _OneSend) else nullcontext():
            super().handle_request(listener_name, req, sock, addr)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """How long to wait for a connection's next request; the block just ends when that is over."""
        with gevent.Timeout(self.cfg.keepalive) as timeout:
            self._silent[timeout] = gevent.getcurrent()
            if not self.alive:
                self._let_go(timeout)
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
        for timeout in list(self._silent):
            self._let_go(timeout)

    def _let_go(self, timeout: gevent.Timeout) -> None:
        loop = gevent.get_hub().loop
        # Its clock stands still while greenlets work.
        loop.update_now()
        # After the reads that are due at the same time: what has come by then is answered.
        gevent.spawn_later(_HEARD_S, loop.run_callback, self._end_silence, timeout)

    def _end_silence(self, timeout: gevent.Timeout) -> None:
        # Looked for and thrown in one: a request that has begun is none of its business.
        if timeout in self._silent:
            self._silent[timeout].throw(timeout)
