"""Interim responses (RFC 9110, 15.2). WSGI has none, so they are written to the socket directly."""

from functools import partial
from typing import TYPE_CHECKING

from gevent.pywsgi import WSGIHandler

from sandbox.faults import SEND_INTERIM, status_phrase

if TYPE_CHECKING:
    import socket

    from _typeshed.wsgi import WSGIEnvironment


class InterimHandler(WSGIHandler):
    """A gevent handler whose WSGI environment can send interim responses (`SEND_INTERIM`)."""

    def get_environ(self) -> "WSGIEnvironment":
        """Return the library's environment with `SEND_INTERIM` added."""
        environ: WSGIEnvironment = super().get_environ()
        environ[SEND_INTERIM] = partial(_send, self.socket)
        return environ


def _send(connection: "socket.socket", status: int) -> None:
    connection.sendall(f"HTTP/1.1 {status} {status_phrase(status)}\r\n\r\n".encode())
