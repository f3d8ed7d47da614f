"""Builds and checks ledger addresses (contract: domain, Keys).

Written from the contract alone, to be an independent check on the ledger SDK.
"""

import re
from enum import StrEnum
from hashlib import sha224, sha512

ADDRESS_PATTERN = re.compile(r"[0-9a-f]{70}")
"""The form of a Sawtooth address. It doesn't check the checksum; `kind_of` does."""


class Kind(StrEnum):
    """The type of record at an address. The address prefix is a hash of the value."""

    GGO = "GGO"
    MEASUREMENT = "MEASUREMENT"
    SETTLEMENT = "SETTLEMENT"


def _prefix(kind: Kind) -> bytes:
    return sha512(kind.value.encode()).digest()[:3]


def _checksum(head: bytes) -> bytes:
    return sha512(sha512(head).digest()).digest()[:4]


_KIND_BY_PREFIX = {_prefix(kind): kind for kind in Kind}


def address_of(kind: Kind, public_key: bytes) -> str:
    """Return the address (70 hex digits) of a compressed public key (33 bytes)."""
    head = _prefix(kind) + sha224(sha512(public_key).digest()).digest()
    return (head + _checksum(head)).hex()


def kind_of(address: str) -> Kind | None:
    """Return the kind of an address; None if it is malformed or its checksum is wrong."""
    if not ADDRESS_PATTERN.fullmatch(address):
        return None
    raw = bytes.fromhex(address)
    if _checksum(raw[:-4]) != raw[-4:]:
        return None
    return _KIND_BY_PREFIX.get(raw[:3])


def same_key(one: str, other: str) -> bool:
    """Return whether two well-formed addresses, of any kinds, belong to the same key."""
    return one[6:62] == other[6:62]
