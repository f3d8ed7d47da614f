"""A TCP forwarder whose target can change, as the address of a cluster does in a failover."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Forwarder(socketserver.ThreadingTCPServer):
    """Forwards each new connection to `target`; existing connections stay."""

    daemon_threads = True
    target: tuple[str, int]

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 that it listens on."""
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
    """Run a forwarder to this server."""
    with Forwarder(("127.0.0.1", 0), _Handler) as forwarder:
        forwarder.target = (host, port)
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        try:
            yield forwarder
        finally:
            forwarder.shutdown()
