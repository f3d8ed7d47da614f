"""All places taken: idle connections are closed to make room for clients with requests."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from threading import Event, Thread

import pytest

from devstack.ports import LOOPBACK
from tests.support.served import Connection, Web, running_web

_PLACES = 4
_HEAD = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
_BODY = b"POST /webhook/on-ggo-issued HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
_ASKED = b"POST /accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer some\r\n\r\n"


class _Hydra:
    """A Hydra that answers when the test tells it to."""

    def __init__(self, server: socket.socket) -> None:
        self.port = server.getsockname()[1]
        self.asked: list[socket.socket] = []
        self._server = server
        Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.asked.append(client)

    def answer(self) -> None:
        """Answer all waiting requests: their tokens are inactive."""
        body = b'{"active": false}'
        for client in self.asked:
            received = b""
            while b"token=" not in received:
                received += client.recv(65536)
            client.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
            )
            client.close()
        self.asked.clear()


@pytest.fixture(scope="module")
def hydra() -> Iterator[_Hydra]:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        yield _Hydra(server)


@pytest.fixture(scope="module")
def web(
    module_database_uri: str, tmp_path_factory: pytest.TempPathFactory, hydra: _Hydra
) -> Iterator[Web]:
    """A web with few places, and a slow Hydra."""
    with running_web(
        module_database_uri,
        tmp_path_factory.mktemp("web"),
        WORKER_CONNECTIONS=str(_PLACES),
        BODY_TIME_LIMIT="20",
        HYDRA_INTROSPECT_URL=f"http://{LOOPBACK}:{hydra.port}/introspect",
    ) as running:
        yield running


def _sends_nothing(_: Connection) -> None:
    pass


def _keeps_its_connection(connection: Connection) -> None:
    connection.say(_HEAD, b"\r\n")
    assert connection.answer().headers["connection"] == "keep-alive"


def _begins_a_head(connection: Connection) -> None:
    connection.say(_HEAD)


def _begins_a_body(connection: Connection) -> None:
    connection.say(_BODY)


def _sends_more_after_its_answer(connection: Connection) -> None:
    connection.say(_HEAD, b"Content-Length: 100000000\r\n\r\n")
    assert connection.answer().headers["connection"] == "close"


_SILENT = (
    _sends_nothing,
    _keeps_its_connection,
    _begins_a_head,
    _begins_a_body,
    _sends_more_after_its_answer,
)


@pytest.mark.parametrize("fall_silent", _SILENT)
def test_idle_connections_make_room(web: Web, fall_silent: Callable[[Connection], None]):
    with ExitStack() as stack:
        for _ in range(3 * _PLACES):
            fall_silent(stack.enter_context(web.connect()))
        # Gunicorn alone would let them wait for 75 s, a body for 20.
        assert web.live_s() < 3


def test_a_trickling_head_counts_as_idle(web: Web):
    done = Event()

    def trickle(connection: Connection) -> None:
        connection.say(_HEAD)
        while not done.wait(0.05):
            connection.say_all_the_same(b"X-Slow: 1\r\n")

    with ExitStack() as stack, ThreadPoolExecutor(_PLACES) as pool:
        stack.callback(done.set)
        for _ in range(_PLACES):
            pool.submit(trickle, stack.enter_context(web.connect()))
        assert web.live_s() < 3
        done.set()


def test_the_longest_idle_connection_is_closed_first(web: Web):
    with ExitStack() as stack:
        old, *others = [stack.enter_context(web.connect()) for _ in range(_PLACES - 1)]
        for each in (*others, old):
            _keeps_its_connection(each)
        # One of the others is closed for this, and no more.
        stack.enter_context(web.connect())
        assert others[0].is_closed_within(5)
        _keeps_its_connection(old)
        _keeps_its_connection(others[1])


def test_a_running_request_is_never_interrupted(web: Web, hydra: _Hydra):
    """No other client is served before a place is free."""
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        asking = [stack.enter_context(web.connect()) for _ in range(_PLACES)]
        for each in asking:
            each.say(_ASKED)
        begun = time.monotonic()
        while len(hydra.asked) < 1:
            assert time.monotonic() - begun < 10
        waits = pool.submit(web.live_s)
        with pytest.raises(TimeoutError):
            waits.result(1)
        hydra.answer()
        assert [each.answer().status for each in asking] == [401] * _PLACES
        assert waits.result(10)


def test_a_client_whose_body_is_not_awaited_gets_a_408(web: Web):
    with ExitStack() as stack:
        first = stack.enter_context(web.connect())
        first.say(_BODY)
        for _ in range(_PLACES):
            stack.enter_context(web.connect()).say(_BODY)
        answer = first.answer()
    assert answer.status == 408
    assert answer.json == {"success": False, "message": "Too busy to wait for the body"}


def test_the_log_has_a_warning_and_no_error(web: Web):
    warnings = re.findall(r"All 4 places are taken: closing idle connections", web.process.output())
    assert 1 <= len(warnings) <= 3
    assert not re.search(r"Traceback|\"ERROR\"", web.process.output())
