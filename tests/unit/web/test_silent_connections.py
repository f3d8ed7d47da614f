"""What SIGTERM does to a web's connections, in gevent's loop."""

import time
from types import SimpleNamespace

import gevent
import pytest
from gevent import socket

from origin.web.gunicorn.silence import SilentConnections
from origin.web.gunicorn.worker import OriginWorker


def _sigterm(asked: bytes, busy_s: float) -> list[str]:
    """What becomes of a connection on which this comes with SIGTERM, while others keep the CPU."""
    worker = OriginWorker.__new__(OriginWorker)
    worker._silent, worker.alive = SilentConnections(100), True
    worker.cfg = SimpleNamespace(keepalive=60)
    ours, clients = socket.socketpair()
    told = []

    def connection() -> None:
        heard = b""
        with worker.timeout_ctx():
            heard = ours.recv(10)
        told.append("heard" if heard else "let go")
        if heard:
            # Stands for its wait for the database, where it could be broken off.
            gevent.sleep(0.05)
            told.append("answered")

    def signal() -> None:
        clients.sendall(asked)
        worker.handle_exit(15, None)
        begun = time.perf_counter()
        while time.perf_counter() < begun + busy_s:
            pass

    with ours, clients:
        answering = gevent.spawn(connection)
        gevent.idle()
        gevent.spawn(signal)
        answering.join(10)
    return told


@pytest.mark.parametrize("busy_s", [0, 0.05])
def test_what_has_come_is_answered(busy_s: float):
    """Also where the loop comes to it late, with all times over."""
    assert _sigterm(b"x", busy_s) == ["heard", "answered"]


def test_silence_is_let_go():
    assert _sigterm(b"", 0) == ["let go"]
