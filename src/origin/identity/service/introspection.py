"""What bearer tokens are worth, remembered for seconds (contract: http-api, Conventions)."""

import time
from concurrent.futures import CancelledError, Future
from hashlib import sha256

from origin.errors import PeerError
from origin.identity.client import HydraClient, Introspection
from origin.shared.clock import utcnow

MAX_REMEMBERED = 10_000


class BearerTokens:
    """Introspects tokens. Only good answers are remembered, under a hash, never past expiry.

    :param cache_s: For how long; 0: not at all.
    """

    def __init__(self, hydra: HydraClient, cache_s: float) -> None:
        self._hydra = hydra
        self._cache_s = cache_s
        # With the moment (`time.monotonic`) until which each is worth it.
        self._known: dict[bytes, tuple[float, Introspection]] = {}
        self._asked: dict[bytes, Future[Introspection | None]] = {}
        """What Hydra is being asked at this moment, for all that ask meanwhile."""

    def worth(self, token: str, *, cached: bool) -> Introspection | None:
        """What the token is worth; None for one that is no active access token.

        :param cached: Whether an answer of some seconds ago will do.
        :raises PeerError: Hydra is out of reach, or answers what it shouldn't.
        """
        key = sha256(token.encode()).digest()
        if not (cached and self._cache_s):
            return self._introspect(key, token)
        known = self._known.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        mine: Future[Introspection | None] = Future()
        asked = self._asked.setdefault(key, mine)
        if asked is mine:
            return self._introspect_for_all(key, token, mine)
        try:
            error = asked.exception()
        except CancelledError:
            # Whoever asked was interrupted, which is no answer of Hydra's.
            return self._introspect(key, token)
        if isinstance(error, PeerError):
            # One exception raised in several places would gather the traces of all.
            raise type(error)(error.peer, error.reason)
        return asked.result()

    def _introspect_for_all(
        self, key: bytes, token: str, answer: "Future[Introspection | None]"
    ) -> Introspection | None:
        try:
            found = self._introspect(key, token)
        except PeerError as error:
            answer.set_exception(error)
            raise
        else:
            answer.set_result(found)
            return found
        finally:
            del self._asked[key]
            answer.cancel()

    def _introspect(self, key: bytes, token: str) -> Introspection | None:
        found = self._hydra.introspect(token)
        if found is None:
            self._known.pop(key, None)
        else:
            self._remember(key, found)
        return found

    def _remember(self, key: bytes, worth: Introspection) -> None:
        life_s = self._cache_s
        if worth.expires_at is not None:
            life_s = min(life_s, (worth.expires_at - utcnow()).total_seconds())
        if life_s <= 0:
            return
        if len(self._known) >= MAX_REMEMBERED:
            now = time.monotonic()
            fresh = [each for each in self._known.copy().items() if each[1][0] > now]
            # The half that came last, where all are fresh.
            self._known = dict(fresh[-MAX_REMEMBERED // 2 :])
        self._known[key] = (time.monotonic() + life_s, worth)
