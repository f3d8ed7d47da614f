"""What bearer tokens are worth, remembered for seconds (contract: http-api, Conventions)."""

import threading
import time
from hashlib import sha256

from cachetools import TLRUCache

from origin.clients.hydra import HydraClient, Introspection
from origin.clock import utcnow

MAX_REMEMBERED = 10_000


class BearerTokens:
    """Introspects tokens. Only good answers are remembered, under a hash, never past expiry.

    :param cache_s: For how long; 0: not at all.
    """

    def __init__(self, hydra: HydraClient, cache_s: float) -> None:
        self._hydra = hydra
        self._cache_s = cache_s
        self._lock = threading.Lock()
        self._known: TLRUCache[bytes, Introspection] = TLRUCache(
            MAX_REMEMBERED, ttu=self._forget_at, timer=time.monotonic
        )

    def worth(self, token: str, *, cached: bool) -> Introspection | None:
        """What the token is worth; None for one that is no active access token.

        :param cached: Whether an answer of some seconds ago will do.
        :raises PeerError: Hydra is out of reach, or answers what it shouldn't.
        """
        key = sha256(token.encode()).digest()
        if cached:
            with self._lock:
                known = self._known.get(key)
            if known is not None:
                return known
        found = self._hydra.introspect(token)
        with self._lock:
            if found is None:
                self._known.pop(key, None)
            else:
                self._known[key] = found
        return found

    def _forget_at(self, _key: bytes, worth: Introspection, now: float) -> float:
        life_s = self._cache_s
        if worth.expires_at is not None:
            life_s = min(life_s, (worth.expires_at - utcnow()).total_seconds())
        return now + life_s
