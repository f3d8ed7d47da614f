"""Servers that take webhooks: at once, slowly, never, or with an error; and count what came."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from origin.webhooks.rules.signatures import SIGNATURE_HEADER, is_hub_signature

SECRET = "what receivers check signatures with"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    receiver: "Receiver"

    def handle_error(self, request: object, client_address: object) -> None:
        """A worker that was killed has hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sent it was killed on the way: no server would take it for a request.
            self.close_connection = True
            return
        receiver = self.server.receiver
        status = receiver.take(self.headers["webhook-id"], self.headers[SIGNATURE_HEADER], body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Receiver:
    """One receiver at `url`. `delay_s` before it answers `status`; mend it by `mend`.

    `attempts` by webhook-id, `addresses` of the GGOs that it has answered with 200, in order.
    """

    def __init__(self, status: int = 200, delay_s: float = 0) -> None:
        self.status = status
        self.delay_s = delay_s
        self.attempts: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.unsigned = 0
        self._mended = Event()
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def take(self, webhook_id: str, signature: str, body: bytes) -> int:
        """Note a webhook, and say how to answer it."""
        with self._lock:
            self.attempts[webhook_id] += 1
            self.unsigned += not is_hub_signature(signature, SECRET, body)
        if self.delay_s:
            self._mended.wait(self.delay_s)
        with self._lock:
            if self.status == 200:
                self.taken[webhook_id] += 1
                self.addresses.append(json.loads(body)["ggo"]["address"])
            return self.status

    def mend(self) -> None:
        """Answer 200 at once from now on."""
        self.status, self.delay_s = 200, 0
        self._mended.set()

    @property
    def duplicates(self) -> int:
        """How often something came again after it had been answered with 200."""
        return sum(self.taken.values()) - len(self.taken)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
