"""Derives the addresses of a metering point's periods from its key (contract: domain, Keys).

Uses bip32utils and the contract alone, to be an independent check on the service.
"""

import time
from datetime import datetime
from functools import lru_cache

from bip32utils import BIP32Key

from sandbox.addresses import Kind, address_of

_HARDENED = 2**31


class KeyProblemError(ValueError):
    """The text is not an extended private key, or no key can be derived for the time."""


def require_private_key(text: str) -> None:
    """Raise KeyProblemError unless the text is an extended private key (Base58, xprv…)."""
    try:
        key = BIP32Key.fromExtendedKey(text)
    except Exception as error:
        # bip32utils raises exceptions of many types for malformed keys.
        raise KeyProblemError("Not an extended key") from error
    if key.public:
        raise KeyProblemError("Not a private key")


def addresses_at(key: str, begin: datetime) -> dict[Kind, str]:
    """Return the addresses of one period by kind; KeyProblemError before 1970 or from 2038 on."""
    index = int(begin.replace(second=0, microsecond=0).timestamp())
    if not 0 <= index < _HARDENED:
        raise KeyProblemError(f"No address can be derived for {begin.isoformat()}")
    return _derived(key, index)


@lru_cache(maxsize=10_000)
def _derived(key: str, index: int) -> dict[Kind, str]:
    public_key = _parent(key).ChildKey(index).PublicKey()
    # Deriving a month takes seconds: yield to other calls.
    time.sleep(0)
    return {kind: address_of(kind, public_key) for kind in Kind}


@lru_cache(maxsize=1000)
def _parent(key: str) -> BIP32Key:
    return BIP32Key.fromExtendedKey(key)
