"""Interim responses (RFC 9110, 15.2), which WSGI has no words for: they are put on the wire directly."""

from functools import partial
from typing import TYPE_CHECKING

from gevent.pywsgi import WSGIHandler

from sandbox.faults import SEND_INTERIM, status_phrase

if TYPE_CHECKING:
    import socket

    from _typeshed.wsgi import WSGIEnvironment


class InterimHandler(WSGIHandler):
    """Serves a connection, and lets the application send interim responses before its answer."""

    def get_environ(self) -> "WSGIEnvironment":
        """As the library does, with the means to send one."""
        environ: WSGIEnvironment = super().get_environ()
        environ[SEND_INTERIM] = partial(_send, self.socket)
        return environ


def _send(connection: "socket.socket", status: int) -> None:
    connection.sendall(f"HTTP/1.1 {status} {status_phrase(status)}\r\n\r\n".encode())
