"""Calls to peers: pooled connections, time limits, typed errors. All clients of peers use this."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import orjson
import requests
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, Timeout, make_headers
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from origin.errors import PeerMisbehaved, PeerTooSlow, PeerUnavailable, PeerUnreachable
from origin.peers.bounded import BoundedAdapter, ResponseTooLarge, read_whole
from origin.shared.json_codec import read_json
from origin.telemetry.tracing import peer_call

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 15.0
"""Seconds without a byte after which a call fails."""
RESPONSE_TIMEOUT_S = 30.0
"""Seconds for a whole response, from the end of the request."""
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""Five times a year of one metering point's GGOs, one for each quarter of an hour."""
_POOL_SIZE = 100
_MAX_SERVERS = 10
"""Pools per client; a peer has fewer servers."""
_HEADERS = {
    "Accept": "*/*",
    "User-Agent": "AccountService",
    **make_headers(accept_encoding=["gzip", "deflate"]),
}


def _certificates() -> str | None:
    """Return the file or folder of trusted certificates that the environment names, if any."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


@dataclass(frozen=True)
class PeerResponse:
    """A peer's complete response. Its `repr` hides the content, which may hold a token."""

    status_code: int
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class _Route:
    """How to reach one server, directly or through a proxy."""

    pool: HTTPConnectionPool
    before_path: str
    """Stands before the path in the request line: the server's URL for a proxy without a tunnel, or empty."""
    headers: dict[str, str] = field(repr=False)
    """Of each request, with basic authentication if the server's URL has a login."""


class PeerClient:
    """HTTP calls to one peer.

    It follows no redirects: no peer's contract has any, and a token must not leave with one. It keeps
    no cookies: one user's cookie must not travel with another user's token. A `requests` session does
    both and takes longer than the call itself, so this class uses only the library's connection pools
    with the environment's proxies and certificates.

    :param name: The peer's name, for errors and logs.
    :param tls_verify: Check certificates; off in development only.
    :param response_timeout_s: Seconds for a whole response.
    :param max_response_bytes: The size limit of a response after decompression.
    """

    def __init__(
        self,
        name: str,
        *,
        tls_verify: bool,
        response_timeout_s: float = RESPONSE_TIMEOUT_S,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self.name = name
        self._verify = tls_verify and (_certificates() or True)
        self._max_bytes = max_response_bytes
        self._adapter = BoundedAdapter(
            response_timeout_s=response_timeout_s,
            pool_connections=_MAX_SERVERS,
            pool_maxsize=_POOL_SIZE,
        )
        self._route = cache(self._new_route)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
    ) -> PeerResponse:
        """Make one call and return the response, whatever its status.

        Proxies and certificates come from the environment and are read once. A `.netrc` is never
        read: its login would replace a bearer token.

        :param params: Appended to the URL's query.
        :param timeout: Seconds to connect, and seconds without a byte.
        :raises PeerUnreachable: no connection; the request did not arrive.
        :raises PeerTooSlow: no complete response in time; the request may have arrived.
        :raises PeerUnavailable: the connection was cut; the request may have arrived.
        :raises PeerMisbehaved: the response is too large; the request has arrived.
        """
        try:
            scheme, host, path, query, _ = urlsplit(url)
            query = "&".join(filter(None, (query, urlencode(params))))
            with peer_call(self.name, method, url) as call:
                route = self._route(f"{scheme}://{host}")
                response = route.pool.urlopen(
                    method,
                    f"{route.before_path}{path or '/'}{'?' if query else ''}{query}",
                    body=body,
                    headers={**route.headers, **(headers or {}), **call.headers},
                    timeout=Timeout(connect=timeout[0], read=timeout[1]),
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                )
                content = read_whole(response, self._max_bytes)
                call.status = response.status
                return PeerResponse(response.status, content)
        except ResponseTooLarge as error:
            raise PeerMisbehaved(self.name, f"an answer of {error}") from error
        except HTTPError as error:
            # The library's text may quote the URL with its query, so only the error's class is kept.
            raise _error_class(error)(self.name, type(error).__name__) from error
        except (requests.RequestException, ValueError) as error:
            # An invalid URL or header. Not chained: the error quotes it, perhaps with a login or token.
            raise PeerUnavailable(self.name, type(error).__name__) from None

    def post_json(
        self, url: str, document: Any, headers: Mapping[str, str] | None = None
    ) -> PeerResponse:
        """POST this document as JSON; errors as `request`."""
        own = {"Content-Type": "application/json", **(headers or {})}
        return self.request("POST", url, headers=own, body=orjson.dumps(document))

    def post_form(
        self, url: str, form: Mapping[str, str], *, login: tuple[str, str] | None = None
    ) -> PeerResponse:
        """POST this form and ask for JSON; `login` is name and password (RFC 7617); errors as `request`."""
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **(make_headers(basic_auth=":".join(login)) if login else {}),
        }
        return self.request("POST", url, headers=headers, body=urlencode(form).encode())

    def _new_route(self, server: str) -> _Route:
        proxies = dict(get_environ_proxies(server))
        root = requests.Request("GET", f"{server}/").prepare()
        pool = self._adapter.get_connection_with_tls_context(root, self._verify, proxies=proxies)
        self._adapter.cert_verify(pool, server, self._verify, None)  # type: ignore[no-untyped-call]
        return _Route(
            cast("HTTPConnectionPool", pool),
            self._adapter.request_url(root, proxies).removesuffix("/"),
            {**_HEADERS, **root.headers},
        )

    def json_object(self, response: PeerResponse) -> dict[str, Any]:
        """Return the response's JSON object.

        :raises PeerMisbehaved: the content is not a JSON object.
        """
        try:
            body = read_json(response.content)
        except ValueError as error:
            raise PeerMisbehaved(self.name, f"no JSON in a {response.status_code}") from error
        if not isinstance(body, dict):
            raise PeerMisbehaved(self.name, "JSON, but not an object")
        return body


def _error_class(error: HTTPError) -> type[PeerUnavailable]:
    """Return our error class for a failed connection or read."""
    if isinstance(error, ConnectTimeoutError | NewConnectionError):
        return PeerUnreachable
    return PeerTooSlow if isinstance(error, ReadTimeoutError) else PeerUnavailable
