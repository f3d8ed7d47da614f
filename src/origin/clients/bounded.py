"""HTTP with bounds that the libraries lack: how long an answer takes as a whole, how large it is.

Their read timeout is one per packet: a peer that sends a byte every few seconds would hold its
caller for ever, and one that never stops would fill the memory.
"""

import http.client
import io
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class AnswerTooLarge(Exception):
    """The body is larger than allowed; the rest of it wasn't read."""


class BoundedAdapter(HTTPAdapter):
    """Has pools of connections whose answers come in time, or not at all.

    :param answer_within_s: From the request's last byte to the answer's last.
    """

    def __init__(self, *, answer_within_s: float, **arguments: Any) -> None:
        self._answer_within_s = answer_within_s
        super().__init__(**arguments)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have all connections read their answers against the clock."""
        super().init_poolmanager(*args, **kwargs)
        response_class = partial(_TimedResponse, self._answer_within_s)

        class Plain(HTTPConnection):
            """HTTP."""

        class Secure(HTTPSConnection):
            """HTTPS."""

        class PlainPool(HTTPConnectionPool):
            """Of HTTP."""

            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            """Of HTTPS."""

            ConnectionCls = Secure

        for kind in (Plain, Secure):
            kind.response_class = response_class  # type: ignore[assignment] # called, as a class is
        self._pools = {"http": PlainPool, "https": SecurePool}
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **arguments: Any) -> Any:
        """As the library does; through a proxy too, but one of SOCKS, answers come in time."""
        manager = super().proxy_manager_for(proxy, **arguments)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def read_whole(answer: BaseHTTPResponse, max_bytes: int) -> bytes:
    """The body of an answer that hasn't been read, unpacked.

    :raises AnswerTooLarge: and the rest isn't read.
    :raises HTTPError: of urllib3: it didn't come whole, or not in time.
    """
    # What isn't packed the library would copy, which costs more than to receive it.
    packed = "content-encoding" in answer.headers
    content = b""
    try:
        while len(content) <= max_bytes and (
            more := answer.read(max_bytes + 1 - len(content), decode_content=packed)
        ):
            content = content + more if content else more
    finally:
        # A connection that was read to the end is back in its pool already.
        answer.close()
    if len(content) > max_bytes:
        raise AnswerTooLarge(f"more than {max_bytes} bytes")
    return content


class _TimedResponse(http.client.HTTPResponse):
    """An answer that is read, headers and all, before its time is over."""

    def __init__(self, within_s: float, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock, time.monotonic() + within_s))


class _TimedReader(io.RawIOBase):
    """Reads from a socket until the deadline, no read longer than the socket's own timeout."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout_s = sock.gettimeout()
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        """As of any raw stream.

        :raises TimeoutError: nothing came in time, or the time is over.
        """
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(left_s if self._timeout_s is None else min(left_s, self._timeout_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        if not self.closed:
            self._raw.close()
        super().close()
