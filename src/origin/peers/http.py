"""The one way to call a peer: pooled connections, time limits, typed errors."""

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
"""How long nothing at all may come."""
RESPONSE_TIMEOUT_S = 30.0
"""How long a whole answer may take to come, once the request is sent."""
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""A year of one meter's quarters of an hour, GGO by GGO, is a fifth of it."""
_POOL_SIZE = 100
_SERVERS = 10
"""More than a peer has."""
_HEADERS = {
    "Accept": "*/*",
    "User-Agent": "AccountService",
    **make_headers(accept_encoding=["gzip", "deflate"]),
}


def _certificates() -> str | None:
    """The file or folder of certificates to be trusted that the environment names, if any."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


@dataclass(frozen=True)
class PeerResponse:
    """What a peer answered, whole. Its text form shows none of it: it may be a token."""

    status_code: int
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class _Route:
    """How a server is reached."""

    pool: HTTPConnectionPool
    before_path: str
    """In a request's first line: to a proxy whole URLs are said, where it isn't a tunnel."""
    headers: dict[str, str] = field(repr=False)
    """Of each request; with the login of the server's URL, where it has one."""


class PeerClient:
    """HTTP calls to one peer.

    Redirects aren't followed: no peer's contract has any, and a token must not travel with one. No
    cookie is kept: one user's must not travel with another's token. So little of what `requests` does
    for each call is wanted, and that is more work than the call itself: of the library are the pools
    of connections, with the environment's proxies and certificates.

    :param name: The peer's name, for errors and logs.
    :param tls_verify: Check certificates; off in development only.
    :param response_timeout_s: How long a whole answer may take.
    :param max_response_bytes: How large an answer may be, unpacked.
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
            pool_connections=_SERVERS,
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
        """One call; any status is an answer.

        What the environment says of proxies and certificates is heeded, and read once; the machine's
        .netrc isn't, whose login would replace a bearer token.

        :param params: More for the URL's query.
        :param timeout: Seconds to connect, and without a byte.
        :raises PeerUnreachable: no connection came about; it did not arrive.
        :raises PeerTooSlow: no answer in time; it may have arrived.
        :raises PeerUnavailable: a cut connection; it may have arrived.
        :raises PeerMisbehaved: an answer that is too large; it has arrived.
        """
        try:
            scheme, host, path, query, _ = urlsplit(url)
            query = "&".join(filter(None, (query, urlencode(params))))
            with peer_call(self.name, method, url) as call:
                route = self._route(f"{scheme}://{host}")
                answer = route.pool.urlopen(
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
                content = read_whole(answer, self._max_bytes)
                call.status = answer.status
                return PeerResponse(answer.status, content)
        except ResponseTooLarge as error:
            raise PeerMisbehaved(self.name, f"an answer of {error}") from error
        except HTTPError as error:
            # The library's text may quote the URL with its query: only its kind is told.
            raise _kind(error)(self.name, type(error).__name__) from error
        except (requests.RequestException, ValueError) as error:
            # Of a URL or header that can't be, which it quotes: with a login or token perhaps.
            raise PeerUnavailable(self.name, type(error).__name__) from None

    def post_json(
        self, url: str, document: Any, headers: Mapping[str, str] | None = None
    ) -> PeerResponse:
        """As `request`, with this document."""
        own = {"Content-Type": "application/json", **(headers or {})}
        return self.request("POST", url, headers=own, body=orjson.dumps(document))

    def post_form(
        self, url: str, form: Mapping[str, str], *, login: tuple[str, str] | None = None
    ) -> PeerResponse:
        """As `request`, with this form, for JSON; `login`: name and password (RFC 7617)."""
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
        """The answer's JSON object.

        :raises PeerMisbehaved: where it isn't one.
        """
        try:
            body = read_json(response.content)
        except ValueError as error:
            raise PeerMisbehaved(self.name, f"no JSON in a {response.status_code}") from error
        if not isinstance(body, dict):
            raise PeerMisbehaved(self.name, "JSON, but not an object")
        return body


def _kind(error: HTTPError) -> type[PeerUnavailable]:
    """What a failure of the connection is to our callers."""
    if isinstance(error, ConnectTimeoutError | NewConnectionError):
        return PeerUnreachable
    return PeerTooSlow if isinstance(error, ReadTimeoutError) else PeerUnavailable
