"""The client of our subscribers' servers: untrusted hosts that must not use up shared resources.

A host's name is resolved, all its addresses are checked, and the connection goes to a checked one.
TLS and the Host header keep the name. Redirects are not followed, and the environment's proxies are
not used. Only the status of a response matters.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import certifi
from cachetools import TTLCache

from origin.webhooks.client.connections import MAX_AGE_S, NotDelivered, ReceiverConnection
from origin.webhooks.client.targets import Target
from origin.webhooks.rules.public_addresses import Network, is_public, is_within
from origin.webhooks.rules.subscriptions import UrlAddressNotAllowed

_RESOLVE_S = 5.0
_KEEP_ADDRESSES_S = 10.0
_MAX_IDLE = 200

Resolve = Callable[[str, int], Sequence[str]]


class ForbiddenAddress(NotDelivered):
    """The host has an address that webhooks must not go to."""


def _resolve(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ReceiverClient:
    """Lends connections to receivers, and keeps idle ones. Safe for threads.

    :param tls_verify: Verify certificates.
    :param allow_private: Let webhooks go to private and loopback addresses, for development.
    :param forbidden: Networks that webhooks must not go to in any case.
    :param resolve: Returns a host's addresses; raises OSError.
    :param ca_file: Further certificate authorities to trust (tests).
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
        self._idle: dict[tuple[str, str], list[ReceiverConnection]] = {}
        """By scheme and authority."""
        self._idle_count = 0
        self._cleared_at = time.monotonic()
        self._addresses: TTLCache[tuple[str, int], Sequence[str]] = TTLCache(
            1000, _KEEP_ADDRESSES_S
        )
        self._resolvers = ThreadPoolExecutor(32, "resolve")

    def _tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings for all receivers."""
        if self._context is None:
            context = ssl.create_default_context(cafile=self._ca_file)
            context.load_verify_locations(certifi.where())
            if not self._tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context

    def check(self, target: Target) -> None:
        """Reject a target whose host has a forbidden address now.

        A host that cannot be resolved now passes: its addresses are checked at every delivery.

        :raises UrlAddressNotAllowed: it has.
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
        """Return the addresses of a target's host.

        :raises ForbiddenAddress: one of them is forbidden.
        :raises NotDelivered: the host cannot be resolved now.
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

    def take(self, target: Target) -> ReceiverConnection:
        """Return a connection to this target; give it back with `give_back`."""
        with self._lock:
            kept = self._idle.get((target.scheme, target.authority))
            if kept:
                self._idle_count -= 1
                connection = kept.pop()
                connection.target = target
                return connection
        return ReceiverConnection(target, self.addresses, self._tls_context)

    def give_back(self, connection: ReceiverConnection) -> None:
        """Keep a connection for later use if it is usable, else close it."""
        with self._lock:
            if time.monotonic() - self._cleared_at > MAX_AGE_S:
                self._close_stale()
            if connection.is_fresh and self._idle_count < _MAX_IDLE:
                key = (connection.target.scheme, connection.target.authority)
                self._idle.setdefault(key, []).append(connection)
                self._idle_count += 1
                return
        connection.close()

    def close(self) -> None:
        """Close all idle connections and stop resolving."""
        with self._lock:
            for connection in [each for kept in self._idle.values() for each in kept]:
                connection.close()
            self._idle.clear()
            self._idle_count = 0
        self._resolvers.shutdown()

    def _close_stale(self) -> None:
        """Close idle connections that may not be used again."""
        self._cleared_at = time.monotonic()
        kept: dict[tuple[str, str], list[ReceiverConnection]] = {}
        for key, connections in self._idle.items():
            for connection in connections:
                if connection.is_fresh:
                    kept.setdefault(key, []).append(connection)
                else:
                    connection.close()
        self._idle = kept
        self._idle_count = sum(map(len, kept.values()))
