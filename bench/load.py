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
_CHUNKED = b"transfer-encoding: chunked"
_LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = b"content-length:"


class UnexpectedAnswer(RuntimeError):
    """An answer was no success: what was measured means nothing."""


class OutOfRequestsError(RuntimeError):
    """There are no requests left for the time of the load."""

    def __init__(self) -> None:
        super().__init__("The database has too few unspent GGOs for this load: use a larger --size")


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
        """The body of the answer, which must be a 200; of a chunked one with the sizes of its chunks.

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
        if _CHUNKED in lines:
            return self._to_the_last_chunk(body)
        length = next(int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH))
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _to_the_last_chunk(self, begun: bytes) -> bytes:
        parts = [begun]
        while not (b"".join(parts[-2:])).endswith(_LAST_CHUNK):
            parts.append(self._more())
        return b"".join(parts)

    def _more(self) -> bytes:
        part = self._socket.recv(_RECEIVED)
        if not part:
            raise UnexpectedAnswer("The connection was shut")
        return bytes(part)

    def close(self) -> None:
        """Shut the connection."""
        self._socket.close()


def many(port: int, requests: Iterable[bytes], *, clients: int, seconds: float) -> Load:
    """Have this many clients ask these for so long, over and over where they are a sequence."""
    times: list[float] = []
    left = cycle(requests) if isinstance(requests, Sequence) else iter(requests)
    start = time.perf_counter()
    end = start + seconds

    def work() -> None:
        client = Client(port, green=True)
        while time.perf_counter() < end:
            request = next(left, None)
            if request is None:
                raise OutOfRequestsError
            begun = time.perf_counter()
            client.ask(request)
            times.append(time.perf_counter() - begun)
        client.close()

    gevent.joinall([gevent.spawn(work) for _ in range(clients)], raise_error=True)
    return Load(times, time.perf_counter() - start)


def exhaust(port: int, requests: Iterable[bytes], *, clients: int) -> None:
    """Have this many clients ask all of these, each once."""

    def work(left: Iterator[bytes]) -> None:
        client = Client(port, green=True)
        for request in left:
            client.ask(request)
        client.close()

    left = iter(requests)
    gevent.joinall([gevent.spawn(work, left) for _ in range(clients)], raise_error=True)


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
