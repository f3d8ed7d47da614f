"""Caches the public branch keys of users, from which addresses are derived.

Opening a master key and deriving from it takes several times as long as an address from this cache.
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
"""Keys of each kind; together about 3 MB."""


class PublicBranchKeys:
    """Derives public branch keys from sealed master keys and caches them. They can't sign anything."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.trade = lru_cache(CACHE_SIZE)(self._trade)
        self.metering_point = lru_cache(CACHE_SIZE)(self._metering_point)

    def _trade(self, subject: str, sealed_master_key: str) -> PublicBranchKey:
        """Return `m/0`, whose children hold GGOs that came from a split, transfers included."""
        return trade_branch_key(self._master(subject, sealed_master_key)).public_branch_key

    def _metering_point(
        self, subject: str, sealed_master_key: str, key_index: int
    ) -> PublicBranchKey:
        """Return `m/1/i`, whose children hold measurements and issued GGOs."""
        return metering_point_key(
            self._master(subject, sealed_master_key), key_index
        ).public_branch_key

    def _master(self, subject: str, sealed: str) -> ExtendedKey:
        return ExtendedKey.from_base58(self._sealer.open(sealed, master_key_context(subject)))
