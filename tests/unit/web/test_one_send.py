"""A web's answers leave with their heads, whole and in order."""

from contextlib import suppress
from typing import Any

import pytest

from origin.web.gunicorn.worker import _OneSend

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Client:
    """A socket that notes what is sent at a time."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.recv = None

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)

    def fileno(self) -> int:
        return 7


@pytest.fixture
def pair() -> tuple[Any, Client]:
    client = Client()
    return _OneSend(client), client


def test_a_small_body_goes_with_its_head(pair: tuple[Any, Client]):
    sock, client = pair
    for _ in range(2):
        with sock.answer():
            sock.sendall(HEAD)
            sock.sendall(b"{}")
    assert client.sent == [HEAD + b"{}"] * 2


def test_the_parts_of_a_stream_follow_one_by_one(pair: tuple[Any, Client]):
    sock, client = pair
    with sock.answer():
        for part in (HEAD, b"1", HEAD, b"3"):
            sock.sendall(part)
    assert client.sent == [HEAD + b"1", HEAD, b"3"]


def test_a_large_body_is_not_copied(pair: tuple[Any, Client]):
    sock, client = pair
    body = b"x" * 100_000
    with sock.answer():
        sock.sendall(HEAD)
        sock.sendall(body)
    assert client.sent[0] == HEAD
    assert client.sent[1] is body


@pytest.mark.parametrize("error", [StopIteration, OSError, KeyError])
def test_a_head_without_a_body_leaves_whatever_happens(
    pair: tuple[Any, Client], error: type[Exception]
):
    sock, client = pair
    with suppress(error), sock.answer():
        sock.sendall(HEAD)
        raise error
    sock.sendall(b"later")
    assert client.sent == [HEAD, b"later"]


def test_a_file_follows_its_head(pair: tuple[Any, Client]):
    """Which is sent by the descriptor."""
    sock, client = pair
    with sock.answer():
        sock.sendall(HEAD)
        assert client.sent == []
        assert sock.fileno() == 7
        assert client.sent == [HEAD]


def test_nothing_sent_is_nothing_sent(pair: tuple[Any, Client]):
    sock, client = pair
    with sock.answer():
        pass
    assert client.sent == []
    assert sock.fileno() == 7
