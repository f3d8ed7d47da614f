"""Looks at servers: whether they answer, their certificates, and their clocks."""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

_CONNECT_TIMEOUT_S = 3.0
_READ_TIMEOUT_S = 4.0
_DATE_ERROR_S = 1.0
"""The header `Date` has whole seconds."""


@dataclass(frozen=True)
class ServerLook:
    """What any response of a server shows.

    :ivar expires_at: When its certificate expires; None: plain HTTP, or certificates aren't checked.
    :ivar ahead_s: By how many seconds this machine's clock is ahead; None: it sent no `Date`.
    :ivar error_s: The largest possible error of that.
    """

    expires_at: datetime | None
    ahead_s: float | None
    error_s: float


class CannotLook(Exception):
    """The server can't be reached. The text is one sentence, without secrets."""


def look_at(url: str, *, tls_verify: bool) -> ServerLook:
    """Send a GET with the environment's proxies and certificates, as the service's own calls do.

    :raises CannotLook: there is no response, or its certificate isn't accepted.
    """
    adapter = _CertificateAdapter()
    with requests.Session() as session:
        session.mount("https://", adapter)
        before = time.time()
        try:
            with session.get(
                url,
                verify=tls_verify,
                allow_redirects=False,
                # With this function, requests reads no `.netrc`, and sends no login.
                auth=lambda request: request,
                stream=True,
                timeout=(_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
            ) as response:
                after = time.time()
                date = response.headers.get("Date")
        except (requests.RequestException, ValueError, OSError) as error:
            raise CannotLook(_reason(error)) from None
    server_time = None if date is None else _parsed_date(date)
    expiries = [_expiry(each) for each in adapter.certificates if each]
    return ServerLook(
        expires_at=expiries[-1] if expiries else None,
        ahead_s=None if server_time is None else (before + after) / 2 - server_time,
        error_s=(after - before) / 2 + _DATE_ERROR_S,
    )


def certificate_expiry(host: str, port: int, context: ssl.SSLContext) -> datetime:
    """Return when the certificate of a server that speaks TLS from the first byte expires.

    :raises CannotLook: there is no connection, or the certificate isn't accepted.
    """
    try:
        with (
            socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return _expiry(secure.getpeercert() or {})
    except OSError as error:
        raise CannotLook(_reason(error)) from None


class _CertificateAdapter(HTTPAdapter):
    """An adapter of requests that keeps the certificates of the servers that it connects to."""

    def __init__(self) -> None:
        self.certificates: list[Any] = []
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools whose connections keep certificates. `requests` calls it."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **arguments: Any) -> Any:
        """Return the proxy's manager, with pools of the same kind."""
        manager = super().proxy_manager_for(proxy, **arguments)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> dict[str, Any]:
        certificates = self.certificates

        class Connection(HTTPSConnection):
            """A connection by HTTPS."""

            def connect(self) -> None:
                """Connect, and keep the certificate."""
                super().connect()
                certificates.append(self.sock.getpeercert())  # type: ignore[union-attr] # TLS here

        class Pool(HTTPSConnectionPool):
            """A pool of such connections."""

            ConnectionCls = Connection

        return {"http": HTTPConnectionPool, "https": Pool}


def _expiry(certificate: Any) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _parsed_date(text: str) -> float | None:
    """Return the middle of the second that a `Date` names, in seconds since 1970; None: it is malformed."""
    try:
        return parsedate_to_datetime(text).timestamp() + 0.5
    except (ValueError, OverflowError):
        return None


def _reason(error: BaseException) -> str:
    """Return a sentence for why a connection failed. The libraries' texts may quote the URL."""
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"Its certificate isn't accepted: {cause.verify_message.rstrip('.')}."
            case ssl.SSLError():
                return f"TLS fails ({cause.reason or type(cause).__name__})."
            case socket.gaierror():
                return "Its host name can't be resolved."
            case ConnectionRefusedError():
                return "Nothing listens there (connection refused)."
            case TimeoutError() | requests.Timeout():
                return "It doesn't answer in time."
    return f"The connection fails ({type(causes[-1]).__name__})."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it, the outermost first."""
    found: list[Any] = [error]
    seen: set[int] = set()
    while found:
        each = found.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        found += [
            each.__cause__,
            each.__context__,
            getattr(each, "reason", None),
            *getattr(each, "args", ()),
        ]


def place_of(url: str) -> str:
    """Return a URL's scheme, host and port, without a login."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
