"""Clients that ask over and over, on connections that are kept, and what they saw."""

import socket as blocking
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gevent
from gevent import socket

_RECEIVED = 1 << 18
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class UnexpectedAnswer(RuntimeError):
    """An answer was no success: what was measured means nothing."""


@dataclass(frozen=True)
class Load:
    """What clients saw; times in seconds."""

    times: Sequence[float]
    seconds: float

    @property
    def per_second(self) -> float:
        """Answers in a second, over all clients."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        """The time that this share of the answers did not exceed."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        """The time that half of the answers did not exceed."""
        return statistics.median(self.times)


class Client:
    """One kept connection."""

    def __init__(self, port: int, *, green: bool) -> None:
        module: Any = socket if green else blocking
        self._socket = module.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(blocking.IPPROTO_TCP, blocking.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """The body of the answer, which must be a 200 with a Content-Length.

        :raises UnexpectedAnswer: it is not.
        """
        self._socket.sendall(request)
        received = self._socket.recv(_RECEIVED)
        while _END_OF_HEAD not in received:
            received += self._more()
        head, _, body = received.partition(_END_OF_HEAD)
        lines = head.lower().split(b"\r\n")
        if b" 200 " not in lines[0] + b" ":
            raise UnexpectedAnswer(f"{head!r} {body!r}")
        length = next(int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH))
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _more(self) -> bytes:
        part = self._socket.recv(_RECEIVED)
        if not part:
            raise UnexpectedAnswer("The connection was shut")
        return bytes(part)

    def close(self) -> None:
        """Shut the connection."""
        self._socket.close()


def many(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Have this many clients ask these in turn for so long."""
    times: list[float] = []
    start = time.perf_counter()
    end = start + seconds

    def work(mine: Iterator[bytes]) -> None:
        client = Client(port, green=True)
        while (begun := time.perf_counter()) < end:
            client.ask(next(mine))
            times.append(time.perf_counter() - begun)
        client.close()

    workers = [
        gevent.spawn(work, cycle([*requests[place:], *requests[:place]]))
        for place in (number % len(requests) for number in range(clients))
    ]
    gevent.joinall(workers, raise_error=True)
    return Load(times, time.perf_counter() - start)


def one(port: int, requests: Iterable[bytes]) -> Load:
    """Have one client ask each of these once, one after the other."""
    client = Client(port, green=False)
    times, start = [], time.perf_counter()
    for request in requests:
        begun = time.perf_counter()
        client.ask(request)
        times.append(time.perf_counter() - begun)
    client.close()
    return Load(times, time.perf_counter() - start)
