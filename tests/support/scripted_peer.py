"""A peer on plain sockets that answers each request with exactly the bytes of a script."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

Script = Callable[[socket.socket], None]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def http_answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return the bytes of an answer with a Content-Length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class ScriptedPeer:
    """A peer that runs the next of `scripts` for each request.

    :param wrap: Wraps each accepted connection, for example in TLS.
    """

    def __init__(
        self, wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection
    ) -> None:
        self.scripts: list[Script] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        """Set by `close`; running scripts must stop then."""
        self._wrap = wrap
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        with plain, suppress(OSError), self._wrap(plain) as connection:
            while request := _request_from(connection):
                with self._lock:
                    self.requests.append(request)
                    script = self.scripts.pop(0)
                script(connection)


def _request_from(connection: socket.socket) -> bytes:
    """Return the bytes of one request; empty if the client has closed the connection."""
    came = b""
    while True:
        head, end, body = came.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            return came
        more = connection.recv(65536)
        if not more:
            return b""
        came += more
