"""SIGTERM closes idle connections and answers arrived requests, in gevent's loop."""

import time
from types import SimpleNamespace

import gevent
import pytest
from gevent import socket

from origin.web.gunicorn.idle import IdleConnections
from origin.web.gunicorn.worker import OriginWorker


def _sigterm(request: bytes, busy_s: float) -> list[str]:
    """Return what happens to a connection whose request arrives with SIGTERM, while the CPU is busy."""
    worker = OriginWorker.__new__(OriginWorker)
    worker._idle, worker.alive = IdleConnections(100), True
    worker.cfg = SimpleNamespace(keepalive=60)
    ours, clients = socket.socketpair()
    events = []

    def connection() -> None:
        received = b""
        with worker.timeout_ctx():
            received = ours.recv(10)
        events.append("received" if received else "closed")
        if received:
            # Like a wait for the database, which could be interrupted.
            gevent.sleep(0.05)
            events.append("answered")

    def signal() -> None:
        clients.sendall(request)
        worker.handle_exit(15, None)
        begun = time.perf_counter()
        while time.perf_counter() < begun + busy_s:
            pass

    with ours, clients:
        answering = gevent.spawn(connection)
        gevent.idle()
        gevent.spawn(signal)
        answering.join(10)
    return events


@pytest.mark.parametrize("busy_s", [0, 0.05])
def test_an_arrived_request_is_answered(busy_s: float):
    """Even if the busy loop reads it only after all timers have expired."""
    assert _sigterm(b"x", busy_s) == ["received", "answered"]


def test_an_idle_connection_is_closed():
    assert _sigterm(b"", 0) == ["closed"]
