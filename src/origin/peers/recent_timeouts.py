"""Blocks repeats of calls that just timed out, because the peer may still work on the first."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from origin.errors import PeerTooSlow

_MAX_REMEMBERED = 10_000
"""Timeouts that one process remembers."""


class RecentTimeouts:
    """Blocks an equal call after a timeout, for as long as the first call waited.

    A repeat would reach a peer that still works on the first call, and would slow it down for all
    users. Each process has its own memory of timeouts.
    """

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    @contextmanager
    def guard(self, peer: str, path: str, body: bytes) -> Iterator[None]:
        """Run the block, which makes this call, unless an equal call timed out recently.

        :raises PeerTooSlow: an equal call timed out recently, or this one does.
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
