"""An address that leads to one server and then to another, as a failover moves it."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Forwarder(socketserver.ThreadingTCPServer):
    """Leads each new connection to `target`; those that there are stay where they are."""

    daemon_threads = True
    target: tuple[str, int]

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.server_address[1])


class _Handler(socketserver.BaseRequestHandler):
    server: Forwarder

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target) as there:
            threading.Thread(target=_pass_on, args=(there, self.request), daemon=True).start()
            _pass_on(self.request, there)


def _pass_on(source: Any, target: Any) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarding(host: str, port: int) -> Iterator[Forwarder]:
    """A running forwarder to this server."""
    with Forwarder(("127.0.0.1", 0), _Handler) as forwarder:
        forwarder.target = (host, port)
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        try:
            yield forwarder
        finally:
            forwarder.shutdown()
