"""Webhook receivers that answer at once, slowly, never, or with an error, and count deliveries."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from origin.webhooks.rules.signatures import SIGNATURE_HEADER, is_hub_signature

SECRET = "the receivers' webhook secret"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    receiver: "Receiver"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that a killed worker has closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender was killed while it sent: this isn't a complete request.
            self.close_connection = True
            return
        receiver = self.server.receiver
        status = receiver.take(self.headers["webhook-id"], self.headers[SIGNATURE_HEADER], body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Receiver:
    """A receiver at `url` that answers `status` after `delay_s` seconds, until `repair`.

    `attempts` counts deliveries by webhook-id, `taken` those that it answered with 200, and
    `addresses` has the GGOs of the latter in order. `unsigned` counts wrong signatures.
    """

    def __init__(self, status: int = 200, delay_s: float = 0) -> None:
        self.status = status
        self.delay_s = delay_s
        self.attempts: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.unsigned = 0
        self._repaired = Event()
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def take(self, webhook_id: str, signature: str, body: bytes) -> int:
        """Record a webhook, and return the status to answer with."""
        with self._lock:
            self.attempts[webhook_id] += 1
            self.unsigned += not is_hub_signature(signature, SECRET, body)
        if self.delay_s:
            self._repaired.wait(self.delay_s)
        with self._lock:
            if self.status == 200:
                self.taken[webhook_id] += 1
                self.addresses.append(json.loads(body)["ggo"]["address"])
            return self.status

    def repair(self) -> None:
        """Answer 200 at once from now on."""
        self.status, self.delay_s = 200, 0
        self._repaired.set()

    @property
    def duplicates(self) -> int:
        """Return how many deliveries were repeated after an answer of 200."""
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
        self._repaired.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
