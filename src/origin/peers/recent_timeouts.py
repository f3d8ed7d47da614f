"""Calls that timed out, which the peer may still work at."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from origin.errors import PeerTooSlow

_MAX_REMEMBERED = 10_000
"""Calls that are remembered."""


class RecentTimeouts:
    """Keeps calls that timed out from being repeated at once.

    A repeat finds the peer still at work on the first, and makes it slower for everybody. So the same
    call is refused for as long again as it was waited for. This process alone knows of it.
    """

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    @contextmanager
    def guard(self, peer: str, path: str, body: bytes) -> Iterator[None]:
        """Make this call, or don't.

        :raises PeerTooSlow: it was abandoned just now; it isn't made again.
        """
        call = sha256(path.encode() + b" " + body).digest()
        begun = time.monotonic()
        if begun < self._until.get(call, begun):
            raise PeerTooSlow(peer, f"{path} timed out just now, and isn't repeated yet")
        try:
            yield
        except PeerTooSlow:
            now = time.monotonic()
            self._note(call, now, 2 * now - begun)
            raise

    def _note(self, call: bytes, now: float, until: float) -> None:
        if len(self._until) >= _MAX_REMEMBERED:
            self._until = {each: end for each, end in self._until.items() if end > now}
        if len(self._until) < _MAX_REMEMBERED:
            self._until[call] = until
