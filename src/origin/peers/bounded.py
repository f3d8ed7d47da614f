"""HTTP with bounds that the libraries lack: how long an answer takes as a whole, how large it is.

Their read timeout is one per packet: a peer that sends a byte every few seconds would hold its
caller for ever, and one that never stops would fill the memory.
"""

from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from origin.peers.responses import TimedResponse, is_idle


class ResponseTooLarge(Exception):
    """The body is larger than allowed; the rest of it wasn't read."""


class BoundedAdapter(HTTPAdapter):
    """Has pools of connections whose answers come in time, or not at all.

    :param response_timeout_s: From the request's last byte to the answer's last.
    """

    def __init__(self, *, response_timeout_s: float, **arguments: Any) -> None:
        self._answer_within_s = response_timeout_s
        super().__init__(**arguments)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have all connections read their answers against the clock."""
        super().init_poolmanager(*args, **kwargs)
        response_class = partial(TimedResponse, self._answer_within_s)

        class Plain(_CleanConnection, HTTPConnection):
            """HTTP."""

        class Secure(_CleanConnection, HTTPSConnection):
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


class _CleanConnection(HTTPConnection):
    """A connection that its pool closes, and opens anew, where bytes came that nobody asked for."""

    @property
    def is_connected(self) -> bool:
        """Asked by the pool when the connection is taken again."""
        return self.sock is not None and is_idle(self.sock)


def read_whole(answer: BaseHTTPResponse, max_bytes: int) -> bytes:
    """The body of an answer that hasn't been read, unpacked.

    :raises ResponseTooLarge: and the rest isn't read.
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
        raise ResponseTooLarge(f"more than {max_bytes} bytes")
    return content
