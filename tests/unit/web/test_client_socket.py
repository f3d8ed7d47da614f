"""A web's client sockets bound the head of a request, and can stay open after the answer."""

from typing import Any

import pytest
from gunicorn.http.errors import LimitRequestHeaders

from origin.web.gunicorn.worker import _MAX_HEAD_BYTES, _ClientSocket


class Client:
    """A socket that always receives as many bytes as requested."""

    def __init__(self) -> None:
        self.is_closed = False

    def recv(self, size: int) -> bytes:
        return bytes(size)

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pair() -> tuple[Any, Client]:
    client = Client()
    return _ClientSocket(client), client


def test_a_head_is_bounded(pair: tuple[Any, Client]):
    sock, _ = pair
    assert sock.recv(_MAX_HEAD_BYTES) == bytes(_MAX_HEAD_BYTES)
    with pytest.raises(LimitRequestHeaders):
        sock.recv(1)


def test_a_body_is_not_bounded_and_the_next_head_is(pair: tuple[Any, Client]):
    sock, _ = pair
    sock.recv(10)
    with sock.body():
        for _ in range(3):
            sock.recv(_MAX_HEAD_BYTES)
    sock.recv(_MAX_HEAD_BYTES)
    with pytest.raises(LimitRequestHeaders):
        sock.recv(1)


@pytest.mark.parametrize("lingers", [False, True])
def test_a_lingering_socket_is_left_open(pair: tuple[Any, Client], lingers: bool):
    sock, client = pair
    sock.lingers = lingers
    sock.close()
    assert client.is_closed is not lingers


def test_everything_else_is_the_sockets_own(pair: tuple[Any, Client]):
    sock, _ = pair
    assert sock.fileno() == 7
