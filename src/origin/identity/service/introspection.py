"""Introspection of access tokens, cached for seconds (contract: http-api, Conventions)."""

import time
from concurrent.futures import CancelledError, Future
from hashlib import sha256

from origin.errors import PeerError
from origin.identity.client import HydraClient, Introspection
from origin.shared.clock import utcnow

MAX_CACHED = 10_000


class IntrospectionCache:
    """Introspects access tokens.

    Caches only active tokens, under a hash of the token, and never past the token's expiry.
    Concurrent requests with the same token share one call of Hydra.

    :param cache_s: How long an introspection is cached, in seconds; 0 disables the cache.
    """

    def __init__(self, hydra: HydraClient, cache_s: float) -> None:
        self._hydra = hydra
        self._cache_s = cache_s
        # By the token's hash, each with the moment (`time.monotonic`) at which it expires here.
        self._cached: dict[bytes, tuple[float, Introspection]] = {}
        self._calls: dict[bytes, Future[Introspection | None]] = {}
        """The calls of Hydra that are running."""

    def introspect(self, token: str, *, cached: bool) -> Introspection | None:
        """Return the token's introspection; None if it is not an active access token.

        :param cached: Whether a cached introspection is good enough.
        :raises PeerError: Hydra is unavailable or misbehaves.
        """
        key = sha256(token.encode()).digest()
        if not (cached and self._cache_s):
            return self._call(key, token)
        entry = self._cached.get(key)
        if entry is not None and time.monotonic() < entry[0]:
            return entry[1]
        own: Future[Introspection | None] = Future()
        call = self._calls.setdefault(key, own)
        if call is own:
            return self._call_for_all(key, token, own)
        try:
            error = call.exception()
        except CancelledError:
            # The caller was interrupted, so Hydra's response is unknown.
            return self._call(key, token)
        if isinstance(error, PeerError):
            # A copy: one exception raised in several places would collect all their tracebacks.
            raise type(error)(error.peer, error.reason)
        return call.result()

    def _call_for_all(
        self, key: bytes, token: str, call: "Future[Introspection | None]"
    ) -> Introspection | None:
        """Call Hydra, and pass the result on to all requests that wait for `call`."""
        try:
            introspection = self._call(key, token)
        except PeerError as error:
            call.set_exception(error)
            raise
        else:
            call.set_result(introspection)
            return introspection
        finally:
            del self._calls[key]
            # Does nothing if the call has a result: only an interrupted one is cancelled.
            call.cancel()

    def _call(self, key: bytes, token: str) -> Introspection | None:
        introspection = self._hydra.introspect(token)
        if introspection is None:
            self._cached.pop(key, None)
        else:
            self._cache(key, introspection)
        return introspection

    def _cache(self, key: bytes, introspection: Introspection) -> None:
        life_s = self._cache_s
        if introspection.expires_at is not None:
            life_s = min(life_s, (introspection.expires_at - utcnow()).total_seconds())
        if life_s <= 0:
            return
        if len(self._cached) >= MAX_CACHED:
            now = time.monotonic()
            fresh = [each for each in self._cached.copy().items() if each[1][0] > now]
            # If all are fresh, keep the newer half.
            self._cached = dict(fresh[-MAX_CACHED // 2 :])
        self._cached[key] = (time.monotonic() + life_s, introspection)
