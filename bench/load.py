"""Clients that send requests on kept connections, and their response times."""

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
_SUCCESS = (b"200", b"202")
_LENGTH = b"content-length:"


class UnexpectedAnswer(RuntimeError):
    """An answer was not successful, so the measurement is invalid."""


class OutOfRequestsError(RuntimeError):
    """The requests ran out before the time of the load was over."""

    def __init__(self) -> None:
        super().__init__("The database has too few unspent GGOs for this load: use a larger --size")


@dataclass(frozen=True)
class Load:
    """The response times that clients saw; in seconds."""

    times: Sequence[float]
    seconds: float

    @property
    def per_second(self) -> float:
        """Return the answers per second of all clients together."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the response time that this share of the answers did not exceed."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        """Return the median response time."""
        return statistics.median(self.times)


class Client:
    """One kept connection. `green`: a gevent socket, else a blocking one."""

    def __init__(self, port: int, *, green: bool) -> None:
        module: Any = socket if green else blocking
        self._socket = module.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(blocking.IPPROTO_TCP, blocking.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body; if chunked, including the chunk sizes.

        :raises UnexpectedAnswer: The status is neither 200 nor 202, or the connection was closed.
        """
        self._socket.sendall(request)
        received = self._socket.recv(_RECEIVED)
        while _END_OF_HEAD not in received:
            received += self._more()
        head, _, body = received.partition(_END_OF_HEAD)
        lines = head.lower().split(b"\r\n")
        if lines[0].split()[1] not in _SUCCESS:
            raise UnexpectedAnswer(f"{head!r} {body!r}")
        if _CHUNKED in lines:
            return self._read_chunks(body)
        length = next(int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH))
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _read_chunks(self, start: bytes) -> bytes:
        parts = [start]
        while not (b"".join(parts[-2:])).endswith(_LAST_CHUNK):
            parts.append(self._more())
        return b"".join(parts)

    def _more(self) -> bytes:
        part = self._socket.recv(_RECEIVED)
        if not part:
            raise UnexpectedAnswer("The connection was closed")
        return bytes(part)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def many(port: int, requests: Iterable[bytes], *, clients: int, seconds: float) -> Load:
    """Send requests from concurrent clients for some seconds; a sequence is repeated.

    :raises OutOfRequestsError: An iterator that is no sequence has ended.
    """
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
    """Send each of these requests once, from concurrent clients."""

    def work(left: Iterator[bytes]) -> None:
        client = Client(port, green=True)
        for request in left:
            client.ask(request)
        client.close()

    left = iter(requests)
    gevent.joinall([gevent.spawn(work, left) for _ in range(clients)], raise_error=True)


def one(port: int, requests: Iterable[bytes]) -> Load:
    """Send each of these requests once, one after the other."""
    client = Client(port, green=False)
    times, start = [], time.perf_counter()
    for request in requests:
        begun = time.perf_counter()
        client.ask(request)
        times.append(time.perf_counter() - begun)
    client.close()
    return Load(times, time.perf_counter() - start)
