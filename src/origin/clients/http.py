"""The one way to call a peer: pooled connections, time limits, typed errors."""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.utils import default_headers, get_environ_proxies
from urllib3.exceptions import MaxRetryError, NewConnectionError

from origin.clients.bounded import AnswerTooLarge, BoundedAdapter
from origin.errors import PeerMisbehaved, PeerUnavailable, PeerUnreachable
from origin.telemetry.tracing import peer_call

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 15.0
"""How long nothing at all may come."""
ANSWER_WITHIN_S = 30.0
"""How long a whole answer may take to come, once the request is sent."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A year of one meter's quarters of an hour, GGO by GGO, is a fifth of it."""
_POOL_SIZE = 100


def _certificates() -> str | None:
    """The file or folder of certificates to be trusted that the environment names, if any."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


@lru_cache(100)
def _proxies(server: str) -> dict[str, str]:
    """The proxies by which the environment (HTTPS_PROXY, NO_PROXY …) has this server called."""
    return dict(get_environ_proxies(server))


def _never_connected(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    # Nothing is retried: what failed to connect is the only try there was.
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


class PeerClient:
    """HTTP calls to one peer.

    Redirects aren't followed: no peer's contract has any, and a token must not travel with one. No
    cookie is kept: one user's must not travel with another's token. So nothing of what a session of the
    library does for each call is wanted, which is as much work as the call itself.

    :param name: The peer's name, for errors and logs.
    :param tls_verify: Check certificates; off in development only.
    :param answer_within_s: How long a whole answer may take.
    :param max_answer_bytes: How large an answer may be, unpacked.
    """

    def __init__(
        self,
        name: str,
        *,
        tls_verify: bool,
        answer_within_s: float = ANSWER_WITHIN_S,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.name = name
        self._verify = tls_verify and (_certificates() or True)
        self._adapter = BoundedAdapter(
            answer_within_s=answer_within_s,
            max_bytes=max_answer_bytes,
            pool_connections=4,
            pool_maxsize=_POOL_SIZE,
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        **arguments: Any,
    ) -> requests.Response:
        """One call; any status is an answer.

        What the environment says of proxies and certificates is heeded, and read once; the machine's
        .netrc isn't, whose login would replace a bearer token.

        :param timeout: Seconds to connect, and without a byte.
        :param arguments: As for `requests.Request`.
        :raises PeerUnreachable: no connection came about; it did not arrive.
        :raises PeerUnavailable: no answer in time, or a cut connection; it may have arrived.
        :raises PeerMisbehaved: an answer that is too large; it has arrived.
        """
        server = urlsplit(url)
        try:
            with peer_call(self.name, method, url) as call:
                own = {**default_headers(), **(headers or {}), **call.headers}
                answer = self._adapter.send(
                    requests.Request(method, url, headers=own, **arguments).prepare(),
                    timeout=timeout,
                    verify=self._verify,
                    proxies=_proxies(f"{server.scheme}://{server.netloc}"),
                )
                call.status = answer.status_code
                return answer
        except AnswerTooLarge as error:
            raise PeerMisbehaved(self.name, f"an answer of {error}") from error
        except requests.RequestException as error:
            # The library's text may quote the URL with its query: only its kind is told.
            kind = PeerUnreachable if _never_connected(error) else PeerUnavailable
            raise kind(self.name, type(error).__name__) from error

    def json_object(self, response: requests.Response) -> dict[str, Any]:
        """The answer's JSON object.

        :raises PeerMisbehaved: where it isn't one.
        """
        try:
            body = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise PeerMisbehaved(self.name, f"no JSON in a {response.status_code}") from error
        if not isinstance(body, dict):
            raise PeerMisbehaved(self.name, "JSON, but not an object")
        return body
