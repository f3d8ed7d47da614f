"""Ledger addresses: made from public keys, taken apart, and checked (contract: domain, Keys).

Written from the contract alone, so that it stands as a second opinion beside the ledger SDK.
"""

import re
from enum import StrEnum
from hashlib import sha224, sha512

ADDRESS_PATTERN = re.compile(r"[0-9a-f]{70}")
"""A well-formed Sawtooth address; whether the checksum holds is another question."""


class Kind(StrEnum):
    """What lives at an address. The value is the text that its prefix is hashed from."""

    GGO = "GGO"
    MEASUREMENT = "MEASUREMENT"
    SETTLEMENT = "SETTLEMENT"


def _prefix(kind: Kind) -> bytes:
    return sha512(kind.value.encode()).digest()[:3]


def _checksum(head: bytes) -> bytes:
    return sha512(sha512(head).digest()).digest()[:4]


_KIND_BY_PREFIX = {_prefix(kind): kind for kind in Kind}


def address_of(kind: Kind, public_key: bytes) -> str:
    """Return the address (70 hex digits) that a compressed public key (33 bytes) has."""
    head = _prefix(kind) + sha224(sha512(public_key).digest()).digest()
    return (head + _checksum(head)).hex()


def kind_of(address: str) -> Kind | None:
    """Return what an address is for, or None where it is malformed or its checksum is wrong."""
    if not ADDRESS_PATTERN.fullmatch(address):
        return None
    raw = bytes.fromhex(address)
    if _checksum(raw[:-4]) != raw[-4:]:
        return None
    return _KIND_BY_PREFIX.get(raw[:3])


def same_key(one: str, other: str) -> bool:
    """Whether two well-formed addresses belong to one key (each for a kind of its own)."""
    return one[6:62] == other[6:62]
