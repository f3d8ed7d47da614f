"""Adds the names of secp256k1 0.13, which the ledger SDK needs, to secp256k1 0.14.

Import it before the SDK. Since 0.14 the library's context is global, and its classes take none. Under
0.13 this changes nothing.
"""

# The signatures are those of 0.13, with arguments that are unused here.
# ruff: noqa: ARG002, FBT001, FBT002

from typing import Any

import secp256k1


class Base:
    """A holder of the library's context."""

    def __init__(self, ctx: Any = None, flags: Any = None) -> None:
        self.ctx = secp256k1.secp256k1_ctx
        self.flags = flags


class PrivateKey(secp256k1.PrivateKey):  # type: ignore[misc] # the library has no types
    """A private key that ignores flags and context."""

    def __init__(
        self, privkey: Any = None, raw: bool = True, flags: Any = None, ctx: Any = None
    ) -> None:
        super().__init__(privkey, raw)


class PublicKey(secp256k1.PublicKey):  # type: ignore[misc] # the library has no types
    """A public key that ignores flags and context."""

    def __init__(
        self, pubkey: Any = None, raw: bool = False, flags: Any = None, ctx: Any = None
    ) -> None:
        super().__init__(pubkey, raw)


if not hasattr(secp256k1, "Base"):
    secp256k1.Base = Base
    secp256k1.ALL_FLAGS = None
    secp256k1.PrivateKey = PrivateKey
    secp256k1.PublicKey = PublicKey
