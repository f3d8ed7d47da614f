"""Gunicorn's gevent worker, but for how it ends, sends, and parts from clients."""

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
from origin.web.gunicorn.bodies import WatchedBody, ending_at_unread_bodies
from origin.web.gunicorn.refusals import last_answer, refusal
from origin.web.gunicorn.silence import SilentConnections

_COMMON_BYTES = 1 << 16
"""A request's head is no longer, and most requests aren't. Reading more than that is work that is shared
out: gunicorn's readers go through each small chunk, and at every piece through a whole head or trailer."""
_JOINED_BYTES = 1 << 16
"""A body beyond that isn't copied to be sent with its head."""
TAKEN_S = 30.0
"""A client that takes nothing of its answer for so long is gone."""
_LINGER_S = 2.0
_LINGER_BYTES = 1 << 26
"""So much of what a client still sends is listened to, for it to read its answer."""
_WASTE = bytearray(1 << 18)
"""Where that goes, of all clients: nobody looks."""


class _OneSend:
    """A client's socket that bounds a request's head, and sends an answer's together with what follows it.

    Gunicorn sends them apart, which costs a small answer a tenth of all its work, and a packet.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._head: bytes | None = None
        self._is_next_head = False
        self._is_head = True
        self._come_bytes = 0
        self.lingers = False
        """The client may still be sending: `close` leaves the socket open, for `hear_out`."""

    def __getattr__(self, name: str) -> Any:
        # Files are sent by other ways than `sendall`: none may overtake the head.
        self._send_head()
        return getattr(self._client, name)

    def recv(self, size: int) -> bytes:
        """As of any socket, but that a request's head has an end, and others have their turn.

        :raises LimitRequestHeaders: too much came outside of `answer`.
        """
        data: bytes = self._client.recv(size)
        self._come_bytes += len(data)
        if self._come_bytes > _COMMON_BYTES:
            if self._is_head:
                raise LimitRequestHeaders("The head is too long")
            # A socket that has data lets nobody else in by itself.
            gevent.sleep(0)
        return data

    @contextmanager
    def answer(self) -> Iterator[None]:
        """A request's head has been read, and it is answered in this block.

        The first that is sent is the answer's head, and waits for what is next.
        """
        self._is_next_head, self._is_head = True, False
        try:
            yield
        finally:
            self._is_next_head, self._is_head, self._come_bytes = False, True, 0
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

    def close(self) -> None:
        """As of any socket, unless it lingers."""
        if not self.lingers:
            self._send_head()
            self._client.close()

    def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._client.sendall(head)


def bound_sending(client: Any) -> None:
    """Have the system end the connection when its client takes nothing of what is sent for `TAKEN_S`."""
    # One that has gone already is found out when it is read.
    with suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKEN_S * 1000))


def _hear_out(client: Any) -> None:
    """Let a client that may still be sending read its answer.

    A socket that is closed before all is read resets the connection, and the answer may be lost.
    """
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        heard = 0
        while heard < _LINGER_BYTES and (come := client.recv_into(_WASTE)):
            heard += come
            # What comes fast is always there: others must have their turn.
            gevent.sleep(0)


class OriginWorker(GeventWorker):  # type: ignore[misc] # no types
    """Shuts connections on which nothing is being said: on SIGTERM, and when others need their places.

    Gunicorn's own waits for them as for requests, for all of `graceful_timeout`: proxies keep theirs
    open, so that no web would end within a container engine's patience. And as many of them as there
    are places would shut everybody else out.

    Overrides of gunicorn's worker: `notify`, `load_wsgi`, `handle`, `handle_request`, `handle_error`,
    `handle_exit` and `timeout_ctx`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._silent = SilentConnections(self.worker_connections)

    def notify(self) -> None:
        """Once a second: tell the arbiter that this process lives, and others how its pool fares."""
        super().notify()
        # Imported when the application is loaded: gunicorn's master must not have it.
        metrics = sys.modules.get("origin.telemetry.metrics")
        if metrics is not None:
            metrics.report_pools()

    def load_wsgi(self) -> None:
        """Load the application, a Flask one."""
        super().load_wsgi()
        self.wsgi.wsgi_app = ending_at_unread_bodies(self.wsgi.wsgi_app)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Answer what comes on a connection."""
        bound_sending(client)
        with self._silent.place():
            if self.cfg.is_ssl:
                # TLS wraps the socket itself.
                super().handle(listener, client, addr)
                return
            sock = _OneSend(client)
            super().handle(listener, sock, addr)
            if sock.lingers:
                try:
                    with self._silent.silence(_LINGER_S):
                        _hear_out(client)
                finally:
                    client.close()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer one request."""
        req.body = body = WatchedBody(req, self._silent.request)
        with sock.answer() if isinstance(sock, _OneSend) else nullcontext():
            try:
                super().handle_request(listener_name, req, sock, addr)
            except TimeoutError as gone:
                # Gunicorn takes other errors of a connection for errors of ours.
                raise ConnectionResetError(errno.ECONNRESET, "Nothing is taken") from gone
            finally:
                if body.was_left and isinstance(sock, _OneSend):
                    sock.lingers = True

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what failed outside of the application: an ill-formed request, as a rule."""
        context.begin_work("refused", None, None)
        refused = refusal(exc)
        if refused is not None:
            self.log.warning("Refused: %s, from %s", type(exc).__name__, addr[0] if addr else "")
        else:
            # Not its query: a login's has its code in it.
            self.log.error(
                "Unexpected error at %s", getattr(req, "path", "no request"), exc_info=exc
            )
            refused = (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        if isinstance(client, _OneSend):
            client.lingers = True
        with suppress(OSError):
            client.sendall(last_answer(*refused, context.current_request_id() or ""))
        context.end_work()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """How long to wait for a connection's next request; the block just ends when that is over."""
        return self._silent.silence(self.cfg.keepalive)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: what is being answered goes on, who only waits is let go."""
        super().handle_exit(sig, frame)
        self._silent.end()
