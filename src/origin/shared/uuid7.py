"""Ids of version 2: UUIDs that begin with a time (RFC 9562, version 7)."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_VERSION = 7
_VARIANT = 0b10
_RANDOM_BITS = 62
_FRACTION_BITS = 12


def uuid7(at: datetime, digest: bytes | None = None) -> UUID:
    """Return an id of this moment. Ids of different microseconds sort by time.

    The twelve bits after the milliseconds hold the fraction of the millisecond (RFC 9562, 6.2, method
    3). The other bits are random, or the first of the digest.

    :param digest: At least eight bytes of a hash. The same moment and digest give the same id.
    :param at: Aware, in 1970 or later.
    :raises ValueError: It is before 1970.
    """
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    if milliseconds < 0:
        raise ValueError(f"no id before 1970: {at}")
    number = milliseconds << 4 | _VERSION
    number = number << _FRACTION_BITS | (microseconds << _FRACTION_BITS) // 1000
    number = number << 2 | _VARIANT
    rest = (
        secrets.randbits(_RANDOM_BITS)
        if digest is None
        else int.from_bytes(digest[:8]) >> 64 - _RANDOM_BITS
    )
    return UUID(int=number << _RANDOM_BITS | rest)
