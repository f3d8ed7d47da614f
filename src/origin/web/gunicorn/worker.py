"""Gunicorn's gevent worker, with bounded heads, bounded sending, and an orderly end of connections."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from http import HTTPStatus
from typing import Any

import gevent
from gunicorn.http.errors import LimitRequestHeaders  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from origin.telemetry import context
from origin.web.gunicorn.bodies import WatchedBody, closing_at_unread_bodies
from origin.web.gunicorn.idle import IdleConnections
from origin.web.gunicorn.rejections import last_response, rejection

_MAX_HEAD_BYTES = 1 << 16
"""The longest head of a request. Longer requests yield to other greenlets at every read: gunicorn
parses each small chunk, and a whole head or trailer again at each piece of it."""
SEND_TIMEOUT_S = 30.0
"""A client that accepts no byte of its response for so long is disconnected."""
_LINGER_S = 2.0
_LINGER_BYTES = 1 << 26
"""How much of a client's unread request is received and dropped, so that it can read its response."""
_DROPPED = bytearray(1 << 18)
"""The buffer for dropped bytes, shared by all clients: nobody reads it."""


class _ClientSocket:
    """A client's socket that bounds a request's head, and can stay open for a client that still sends."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_head = True
        self._received_bytes = 0
        self.lingers = False
        """Whether the client may still be sending: then `close` leaves the socket open."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def recv(self, size: int) -> bytes:
        """Receive as any socket does, but bound a request's head and let other greenlets run.

        :raises LimitRequestHeaders: More than `_MAX_HEAD_BYTES` came outside of `body`.
        """
        data: bytes = self._client.recv(size)
        self._received_bytes += len(data)
        if self._received_bytes > _MAX_HEAD_BYTES:
            if self._is_head:
                raise LimitRequestHeaders("The head is too long")
            # A socket that always has data never yields by itself.
            gevent.sleep(0)
        return data

    @contextmanager
    def body(self) -> Iterator[None]:
        """Mark that the head has been read: in this block the request is answered."""
        self._is_head = False
        try:
            yield
        finally:
            self._is_head, self._received_bytes = True, 0

    def close(self) -> None:
        """Close the socket, unless it lingers."""
        if not self.lingers:
            self._client.close()


def bound_sending(client: Any) -> None:
    """Have the kernel close the connection if its client accepts nothing for `SEND_TIMEOUT_S`."""
    # A connection that is closed already fails at its first read.
    with suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_TIMEOUT_S * 1000))


def _drain(client: Any) -> None:
    """Receive and drop what a client is still sending, so that it can read its response.

    Closing a socket with unread bytes resets the connection, and the response may be lost.
    """
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        dropped = 0
        while dropped < _LINGER_BYTES and (received := client.recv_into(_DROPPED)):
            dropped += received
            # A fast client always has data: let other greenlets run.
            gevent.sleep(0)


class OriginWorker(GeventWorker):  # type: ignore[misc] # no types
    """Closes idle connections on SIGTERM, and when other clients need their places.

    Gunicorn's own worker waits for idle connections as for requests, for all of `graceful_timeout`.
    Proxies keep theirs open: a web would not stop within a container engine's patience. And as many
    idle connections as there are places would lock all other clients out.

    Overrides of gunicorn's worker: `notify`, `load_wsgi`, `handle`, `handle_request`, `handle_error`,
    `handle_exit` and `timeout_ctx`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle = IdleConnections(self.worker_connections)

    def notify(self) -> None:
        """Signal once a second that this process lives, and update its pools' gauges."""
        super().notify()
        # Imported with the application: gunicorn's master must not import it.
        metrics = sys.modules.get("origin.telemetry.metrics")
        if metrics is not None:
            metrics.report_pools()

    def load_wsgi(self) -> None:
        """Load the Flask application."""
        super().load_wsgi()
        self.wsgi.wsgi_app = closing_at_unread_bodies(self.wsgi.wsgi_app)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Answer the requests of a connection."""
        bound_sending(client)
        with self._idle.place():
            if self.cfg.is_ssl:
                # TLS wraps the socket itself.
                super().handle(listener, client, addr)
                return
            sock = _ClientSocket(client)
            super().handle(listener, sock, addr)
            if sock.lingers:
                try:
                    with self._idle.idle(_LINGER_S):
                        _drain(client)
                finally:
                    client.close()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer one request."""
        req.body = body = WatchedBody(req, self._idle.request)
        with sock.body() if isinstance(sock, _ClientSocket) else nullcontext():
            try:
                super().handle_request(listener_name, req, sock, addr)
            except TimeoutError as timeout:
                # Gunicorn would log a TimeoutError of the connection as a bug.
                raise ConnectionResetError(
                    errno.ECONNRESET, "The client accepts nothing"
                ) from timeout
            finally:
                if body.was_left and isinstance(sock, _ClientSocket):
                    sock.lingers = True

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a failure outside of the application, usually an ill-formed request."""
        context.begin_work("refused", None, None)
        answer = rejection(exc)
        if answer is not None:
            self.log.warning("Rejected: %s, from %s", type(exc).__name__, addr[0] if addr else "")
        else:
            # The path without its query: a login's holds its code.
            self.log.error(
                "Unexpected error at %s", getattr(req, "path", "no request"), exc_info=exc
            )
            answer = (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        if isinstance(client, _ClientSocket):
            client.lingers = True
        with suppress(OSError):
            client.sendall(last_response(*answer, context.current_request_id() or ""))
        context.end_work()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Bound the wait for a connection's next request; the block then ends without an error."""
        return self._idle.idle(self.cfg.keepalive)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Handle SIGTERM: finish running requests, close idle connections."""
        super().handle_exit(sig, frame)
        self._idle.shut_down()
