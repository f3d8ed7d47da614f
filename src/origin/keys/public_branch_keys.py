"""Public halves of users' keys, which tell addresses: kept in memory once they are derived.

Opening a master key and deriving from it takes several times as long as an address from here.
"""

from functools import lru_cache

from origin.keys.derivation import (
    ExtendedKey,
    PublicBranchKey,
    metering_point_key,
    trade_branch_key,
)
from origin.keys.sealing import Sealer, master_key_context

CACHE_SIZE = 10_000
"""Of each kind; some 3 MB."""


class PublicBranchKeys:
    """Derives branches from sealed master keys, each once. What is kept can spend nothing."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.trade = lru_cache(CACHE_SIZE)(self._trade)
        self.metering_point = lru_cache(CACHE_SIZE)(self._metering_point)

    def _trade(self, subject: str, sealed_master_key: str) -> PublicBranchKey:
        """`m/0`, whose children hold what comes by transfer or split."""
        return trade_branch_key(self._master(subject, sealed_master_key)).public_branch_key

    def _metering_point(
        self, subject: str, sealed_master_key: str, key_index: int
    ) -> PublicBranchKey:
        """`m/1/i`, whose children are those of measurements and issued GGOs."""
        return metering_point_key(
            self._master(subject, sealed_master_key), key_index
        ).public_branch_key

    def _master(self, subject: str, sealed: str) -> ExtendedKey:
        return ExtendedKey.from_base58(self._sealer.open(sealed, master_key_context(subject)))
