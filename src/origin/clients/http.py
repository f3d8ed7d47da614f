"""The one way to call a peer: pooled connections, time limits, typed errors."""

import os
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.utils import get_environ_proxies
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

    Redirects aren't followed: no peer's contract has any, and a token must not travel with one.

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
        self._session = requests.Session()
        # What the environment says is read once; the library would, with every call, and look for
        # a login in the machine's .netrc too, which would replace the bearer token.
        self._session.trust_env = False
        # One user's cookies must not travel with another user's token.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._verify = tls_verify and (_certificates() or True)
        adapter = BoundedAdapter(
            answer_within_s=answer_within_s,
            max_bytes=max_answer_bytes,
            pool_connections=4,
            pool_maxsize=_POOL_SIZE,
        )
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def request(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """One call; any status is an answer.

        :param arguments: As for `requests.request`.
        :raises PeerUnreachable: no connection came about; it did not arrive.
        :raises PeerUnavailable: no answer in time, or a cut connection; it may have arrived.
        :raises PeerMisbehaved: an answer that is too large; it has arrived.
        """
        arguments.setdefault("timeout", (CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
        arguments.setdefault("verify", self._verify)
        server = urlsplit(url)
        arguments.setdefault("proxies", _proxies(f"{server.scheme}://{server.netloc}"))
        try:
            with peer_call(self.name, method, url) as call:
                arguments["headers"] = {**(arguments.get("headers") or {}), **call.headers}
                answer = self._session.request(method, url, allow_redirects=False, **arguments)
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
