"""HTTP with limits that the libraries lack: a response's total time and size.

The libraries' read timeout restarts with each packet. A peer that sends a byte every few seconds
would block its caller forever, and an endless response would fill the memory.
"""

from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from origin.peers.responses import TimedResponse, is_idle


class ResponseTooLarge(Exception):
    """The body is larger than allowed. The rest of it is not read."""


class BoundedAdapter(HTTPAdapter):
    """An adapter of requests whose connections limit the total time of each response.

    :param response_timeout_s: Seconds from the request's last byte to the response's last byte.
    """

    def __init__(self, *, response_timeout_s: float, **arguments: Any) -> None:
        self._response_timeout_s = response_timeout_s
        super().__init__(**arguments)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools whose connections read a `TimedResponse`; called by `requests`."""
        super().init_poolmanager(*args, **kwargs)
        # From Python 3.14 on, a partial in a class becomes a method: it would be given the connection.
        response_class = staticmethod(partial(TimedResponse, self._response_timeout_s))

        class Plain(_CleanConnection, HTTPConnection):
            """A connection by HTTP."""

        class Secure(_CleanConnection, HTTPSConnection):
            """A connection by HTTPS."""

        class PlainPool(HTTPConnectionPool):
            """A pool of HTTP connections."""

            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            """A pool of HTTPS connections."""

            ConnectionCls = Secure

        for kind in (Plain, Secure):
            kind.response_class = response_class  # type: ignore[assignment] # called, as a class is
        self._pools = {"http": PlainPool, "https": SecurePool}
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **arguments: Any) -> Any:
        """Return the proxy's manager, with our pools too. A SOCKS proxy keeps the library's pools."""
        manager = super().proxy_manager_for(proxy, **arguments)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


class _CleanConnection(HTTPConnection):
    """A connection that its pool replaces if bytes have arrived while it was idle."""

    @property
    def is_connected(self) -> bool:
        """Whether the pool may reuse this connection."""
        return self.sock is not None and is_idle(self.sock)


def read_whole(response: BaseHTTPResponse, max_bytes: int) -> bytes:
    """Return the decompressed body of a response that has not been read yet.

    :raises ResponseTooLarge: it has more bytes; the rest is not read.
    :raises HTTPError: of urllib3; the body is incomplete or too slow.
    """
    # Decoding copies a body that isn't compressed, which costs more than to receive it.
    packed = "content-encoding" in response.headers
    content = b""
    try:
        while len(content) <= max_bytes and (
            more := response.read(max_bytes + 1 - len(content), decode_content=packed)
        ):
            content = content + more if content else more
    finally:
        # After a complete body the connection is back in its pool already.
        response.close()
    if len(content) > max_bytes:
        raise ResponseTooLarge(f"more than {max_bytes} bytes")
    return content
