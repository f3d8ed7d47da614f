"""Our subscribers' servers: untrusted addresses, on which nothing must be spent that others need.

A name is resolved, all its addresses are checked, and exactly a checked one is connected to; TLS and
the Host header keep the name. Redirects aren't followed, proxies of the environment aren't used, of
an answer no more than its status matters, and an attempt ends after `DEADLINE_S`, however slowly
bytes may trickle in.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial

import certifi
from cachetools import TTLCache
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from origin.errors import OriginError
from origin.peers.responses import TimedResponse, is_idle
from origin.webhooks.rules.deliveries import Answer
from origin.webhooks.rules.public_addresses import Network, is_public, is_within
from origin.webhooks.rules.subscriptions import (
    UrlAddressNotAllowed,
    UrlInvalid,
    UrlSchemeNotAllowed,
)

DEADLINE_S = 15.0
MAX_URL_LENGTH = 2000
_RESOLVE_S = 5.0
_KEEP_ADDRESSES_S = 10.0
_MAX_AGE_S = 60.0
"""A connection is used no longer: a name may lead elsewhere by then."""
_MAX_IDLE = 200
_MAX_ANSWER_BYTES = 4096
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[str]]


class NotDelivered(OriginError):
    """There was no answer; the text says why, and quotes nothing that the receiver said."""


class ForbiddenAddress(NotDelivered):
    """The host leads to an address that webhooks must not go to."""


@dataclass(frozen=True)
class Target:
    """A URL, taken apart: where to connect, and what to ask for there."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port: what shares connections and limits."""
        return f"{self.host}:{self.port}"


def target_of(url: str) -> Target:
    """Take a URL apart.

    :raises UrlSchemeNotAllowed: It is neither http nor https.
    :raises UrlInvalid: It has no valid host or port, has credentials, or is too long.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        raise UrlInvalid from None
    if parts.scheme not in _PORTS:
        raise UrlSchemeNotAllowed
    if not parts.host or parts.auth is not None or len(url.encode()) > MAX_URL_LENGTH:
        raise UrlInvalid
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    if not 0 < port < 2**16 or any(character <= " " for character in url):
        raise UrlInvalid
    path = parts.path or "/"
    path = path if parts.query is None else f"{path}?{parts.query}"
    return Target(parts.scheme, parts.host.strip("[]"), port, path)


def _resolve(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Connection(http.client.HTTPConnection):
    """A connection to one address of a host.

    :param address: The one that was checked.
    :param context: For TLS, which is checked against the host's name; None: plain HTTP.
    """

    def __init__(
        self, target: Target, address: str, context: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self.default_port = _PORTS[target.scheme]
        self.response_class = partial(TimedResponse, DEADLINE_S)  # type: ignore[assignment] # called, as a class is
        self._address = address
        self._context = context
        self.handle: socket.socket | None = None

    def connect(self) -> None:
        """Open it."""
        raw = socket.create_connection((self._address, self.port), self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A second handle of the same connection, by which another thread can cut it at any stage.
        self.handle = raw.dup()
        self.sock = raw
        if self._context is not None:
            self.sock = self._context.wrap_socket(raw, server_hostname=self.host)

    def cut(self) -> None:
        """Have whoever waits on it wait no more."""
        if self.handle is not None:
            # It may be gone already.
            with contextlib.suppress(OSError):
                self.handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Shut it."""
        super().close()
        if self.handle is not None:
            self.handle.close()

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and nothing came on it that belongs to no webhook."""
        return self.sock is not None and is_idle(self.sock)


class Line:
    """One way to a receiver, for one caller at a time; `cut` and `is_overdue` are for others."""

    def __init__(self, client: "ReceiverClient", target: Target) -> None:
        self._client = client
        self.target = target
        self.opened_at = 0.0
        self._connection: _Connection | None = None
        self._deadline = float("inf")

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a body; whatever goes wrong is an answer, too."""
        self._deadline = time.monotonic() + DEADLINE_S
        try:
            status = self._post(path, headers, body)
            if time.monotonic() > self._deadline:
                # It was cut: the library takes that for the end of the headers.
                return Answer(None, "no answer in time")
            return Answer(status)
        except NotDelivered as error:
            return Answer(None, str(error))
        except TimeoutError:
            return Answer(None, "no answer in time")
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() > self._deadline
            return Answer(None, "no answer in time" if late else type(error).__name__)
        finally:
            self._deadline = float("inf")

    def is_overdue(self, now: float) -> bool:
        """Whether what goes on should have ended by now (`time.monotonic`)."""
        return now > self._deadline

    def cut(self) -> None:
        """End what goes on."""
        if self._connection is not None:
            self._connection.cut()

    def close(self) -> None:
        """Shut the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_fresh(self) -> bool:
        """Whether there is a connection that may be used again."""
        return (
            self._connection is not None
            and time.monotonic() - self.opened_at < _MAX_AGE_S
            and self._connection.is_usable
        )

    def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        if self.is_fresh:
            try:
                return self._exchange(path, headers, body)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The receiver has shut it while it was idle. If it has taken this all the same, it
                # gets it twice, as it may with any lost answer.
                self.close()
        self.close()
        self._connect()
        return self._exchange(path, headers, body)

    def _connect(self) -> None:
        context = self._client.context if self.target.scheme == "https" else None
        error: OSError | None = None
        for address in self._client.addresses(self.target):
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection = _Connection(self.target, address, context, left_s)
            try:
                self._connection.connect()
            except OSError as failed:
                self.close()
                error = failed
            else:
                self.opened_at = time.monotonic()
                return
        raise error or NotDelivered("the host has no address")

    def _exchange(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        connection = self._connection
        assert connection is not None
        assert connection.sock is not None
        # The whole of it is watched by others; this ends a wait for a single byte.
        connection.sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            response.read(_MAX_ANSWER_BYTES)
            is_read = response.isclosed()
            response.close()
        except BaseException:
            self.close()
            raise
        if not is_read or connection.sock is None:
            self.close()
        return response.status


class ReceiverClient:
    """Lines to receivers, their connections kept for the next who wants one.

    :param tls_verify: Check certificates.
    :param allow_private: Let webhooks go to private and loopback addresses; for development.
    :param forbidden: Networks that they may not go to in any case.
    :param resolve: Gives a host's addresses; raises OSError.
    :param ca_file: Certificates of authorities to be trusted, too (tests).
    """

    def __init__(
        self,
        *,
        tls_verify: bool,
        allow_private: bool,
        forbidden: Collection[Network] = (),
        resolve: Resolve = _resolve,
        ca_file: str | None = None,
    ) -> None:
        self._tls_verify = tls_verify
        self._allow_private = allow_private
        self._forbidden = forbidden
        self._resolve = resolve
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str], list[Line]] = {}
        self._idle_count = 0
        self._cleared_at = time.monotonic()
        self._addresses: TTLCache[tuple[str, int], Sequence[str]] = TTLCache(
            1000, _KEEP_ADDRESSES_S
        )
        self._resolvers = ThreadPoolExecutor(32, "resolve")

    @property
    def context(self) -> ssl.SSLContext:
        """How TLS is spoken with all receivers."""
        if self._context is None:
            context = ssl.create_default_context(cafile=self._ca_file)
            context.load_verify_locations(certifi.where())
            if not self._tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context

    def check(self, target: Target) -> None:
        """Refuse a target whose host leads, now, to where webhooks must not go.

        A host that can't be resolved now is let pass: it is asked for again at every delivery.

        :raises UrlAddressNotAllowed: It does.
        """
        if self._allow_private and not self._forbidden:
            return
        try:
            self.addresses(target)
        except ForbiddenAddress:
            raise UrlAddressNotAllowed from None
        except NotDelivered:
            return

    def addresses(self, target: Target) -> Sequence[str]:
        """The addresses of a target's host.

        :raises ForbiddenAddress: one of them isn't public.
        :raises NotDelivered: the host can't be resolved now.
        """
        key = (target.host, target.port)
        with self._lock:
            known = self._addresses.get(key)
        if known is not None:
            return known
        try:
            found = self._resolvers.submit(self._resolve, *key).result(_RESOLVE_S)
        except (OSError, UnicodeError, FutureTimeoutError):
            raise NotDelivered("the host can't be resolved") from None
        if not all(map(self._is_allowed, found)):
            raise ForbiddenAddress("the host's address is not allowed")
        with self._lock:
            self._addresses[key] = found
        return found

    def _is_allowed(self, address: str) -> bool:
        if self._allow_private:
            return not is_within(address, self._forbidden)
        return is_public(address, self._forbidden)

    def take(self, target: Target) -> Line:
        """A line to this target; give it back with `give_back`."""
        with self._lock:
            kept = self._idle.get((target.scheme, target.authority))
            if kept:
                self._idle_count -= 1
                line = kept.pop()
                line.target = target
                return line
        return Line(self, target)

    def give_back(self, line: Line) -> None:
        """Keep the line's connection for the next, if it is of use."""
        with self._lock:
            if time.monotonic() - self._cleared_at > _MAX_AGE_S:
                self._drop_stale()
            if line.is_fresh and self._idle_count < _MAX_IDLE:
                key = (line.target.scheme, line.target.authority)
                self._idle.setdefault(key, []).append(line)
                self._idle_count += 1
                return
        line.close()

    def close(self) -> None:
        """Shut all connections that nobody uses."""
        with self._lock:
            for line in [line for lines in self._idle.values() for line in lines]:
                line.close()
            self._idle.clear()
            self._idle_count = 0
        self._resolvers.shutdown()

    def _drop_stale(self) -> None:
        """Shut what is too old to be used again."""
        self._cleared_at = time.monotonic()
        kept: dict[tuple[str, str], list[Line]] = {}
        for key, lines in self._idle.items():
            for line in lines:
                if line.is_fresh:
                    kept.setdefault(key, []).append(line)
                else:
                    line.close()
        self._idle = kept
        self._idle_count = sum(map(len, kept.values()))
