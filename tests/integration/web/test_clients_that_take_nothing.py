"""A client that takes nothing of its answer doesn't hold its place for ever."""

import gevent
import pytest
from gevent import socket

from origin.web.gunicorn import worker


def test_what_a_client_does_not_take_ends(monkeypatch: pytest.MonkeyPatch):
    """The system's limit for unacknowledged data ends it, not a limit for each `send`."""
    monkeypatch.setattr(worker, "SEND_TIMEOUT_S", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        client, _ = server.accept()
        worker.bound_sending(client)
        with client, gevent.Timeout(20), pytest.raises(TimeoutError):
            client.sendall(bytes(100_000_000))
