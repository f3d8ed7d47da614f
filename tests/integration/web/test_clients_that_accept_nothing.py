"""A client that accepts no byte of its answer is disconnected."""

import gevent
import pytest
from gevent import socket

from origin.web.gunicorn import worker


def test_sending_to_a_client_that_accepts_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """By the kernel's limit on unacknowledged data, not by a limit on each `send`."""
    monkeypatch.setattr(worker, "SEND_TIMEOUT_S", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        client, _ = server.accept()
        worker.bound_sending(client)
        with client, gevent.Timeout(20), pytest.raises(TimeoutError):
            client.sendall(bytes(100_000_000))
