"""A body that is not read closes its sender's connection, and does not delay other clients."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.served import Answer, Connection, Web
from tests.support.waiting import eventually

_LARGE = 30_000_000
_PIECE = b"x" * 1_000_000

_UNREAD = {
    "without a token": (b"POST /ggo", 401),
    "to a path that leads nowhere": (b"POST /nowhere", 404),
    "by the wrong method": (b"PUT /ggo", 405),
    "too large": (b"POST /webhook/on-ggo-issued", 413),
    "to a path that needs none": (b"GET /health/live", 200),
}


def _head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: a", *headers, b"", b""))


def _upload(connection: Connection, line: bytes, size: int, *, is_chunked: bool) -> Answer:
    """Send a whole body, as long as it is accepted, and then read: as a simple client does."""
    if is_chunked:
        connection.say(_head(line, b"Transfer-Encoding: chunked"))
        pieces = [b"%X\r\n%b\r\n" % (len(_PIECE), _PIECE)] * (size // len(_PIECE)) + [b"0\r\n\r\n"]
    else:
        connection.say(_head(line, b"Content-Length: %d" % size))
        pieces = [_PIECE] * (size // len(_PIECE))
    for piece in pieces:
        connection.say(piece)
    return connection.answer()


@pytest.mark.parametrize("is_chunked", [False, True], ids=["by its length", "chunked"])
@pytest.mark.parametrize("why", _UNREAD)
def test_its_sender_gets_the_answer_and_is_disconnected(web: Web, why: str, is_chunked: bool):
    line, status = _UNREAD[why]
    if is_chunked and status == 413:
        # The body is read up to the limit; the signature is checked after that.
        line = b"POST /webhook/on-ggo-issued"
    with web.connect() as connection:
        answer = _upload(connection, line, 3 * len(_PIECE), is_chunked=is_chunked)
        assert answer.status == status
        assert answer.json["success"] is (status == 200)
        assert answer.headers["connection"] == "close"
        assert connection.is_closed_within(5)


def _longest_wait_s(web: Web, send: Callable[[Connection], int], times: int) -> float:
    """Return how long others wait while this many clients send a body, each for a 401."""
    done = Event()

    def wait() -> list[float]:
        waits = [web.live_s()]
        while not done.is_set():
            waits.append(web.live_s())
        return waits

    def status() -> int:
        with web.connect() as connection:
            return send(connection)

    with ThreadPoolExecutor(times + 1) as pool:
        waits = pool.submit(wait)
        sent = [pool.submit(status) for _ in range(times)]
        try:
            assert [each.result(100) for each in sent] == [401] * times
        finally:
            done.set()
        return max(waits.result())


def test_several_large_bodies_do_not_delay_others(web: Web):
    """Gunicorn alone would block a process for tens of seconds for each."""

    def send(connection: Connection) -> int:
        return _upload(connection, b"POST /ggo", _LARGE, is_chunked=False).status

    begun = time.monotonic()
    assert _longest_wait_s(web, send, times=8) < 1
    assert time.monotonic() - begun < 10


def test_many_small_chunks_do_not_delay_others(web: Web):
    """Each costs some microseconds. Reading must yield, or these requests would come before all others."""
    chunks = b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n"

    def send(connection: Connection) -> int:
        connection.say(_head(b"POST /webhook/on-ggo-issued", b"Transfer-Encoding: chunked"), chunks)
        return connection.answer().status

    begun = time.monotonic()
    longest_s = _longest_wait_s(web, send, times=3)
    assert longest_s < (time.monotonic() - begun) / 3


@pytest.mark.parametrize("is_chunked", [False, True], ids=["by its length", "chunked"])
def test_a_trickling_body_is_not_awaited(web: Web, is_chunked: bool):
    """Its connection is not kept open for long either."""
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 30000000"
    with web.connect() as connection:
        connection.say(_head(b"POST /ggo", framing))
        assert connection.answer().status == 401

        def is_disconnected() -> bool:
            try:
                connection.say(b"1\r\nx\r\n" if is_chunked else b"x")
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        eventually(is_disconnected, "the connection is closed", within=10)


def test_a_small_unread_body_keeps_the_connection_open(web: Web):
    """For example a body for a path that needs none, or with an expired token."""
    ask = (_head(b"POST /accounts", b"Content-Length: 15") + b'{"success": 1}\n') * 3
    with web.connect() as connection:
        for _ in range(3):
            connection.say(ask[: len(ask) // 3])
            answer = connection.answer()
            assert (answer.status, answer.headers["connection"]) == (401, "keep-alive")


def test_the_next_request_follows_a_read_body(web: Web):
    """Also after a chunked body. A webhook's body is read before its signature is checked."""
    line = b"POST /webhook/on-ggo-issued"
    asks = (
        _head(line, b"Content-Length: 2") + b"{}",
        _head(line, b"Transfer-Encoding: chunked") + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    )
    with web.connect() as connection:
        for ask in asks * 2:
            connection.say(ask)
            answer = connection.answer()
            assert (answer.status, answer.headers["connection"]) == (401, "keep-alive")


def test_a_body_cut_short_is_rejected(web: Web):
    with web.connect() as connection:
        connection.say(_head(b"POST /webhook/on-ggo-issued", b"Content-Length: 20") + b"{}")
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer()
    assert answer.status == 400
    assert answer.json["success"] is False
