"""Makes the ledger SDK importable: it needs an older version of the secp256k1 package."""

import secp256k1

if not hasattr(secp256k1, "Base"):
    _private_key, _public_key = secp256k1.PrivateKey, secp256k1.PublicKey

    class _Base:
        def __init__(self, ctx=None, flags=None):  # noqa: ARG002
            self.ctx = secp256k1.secp256k1_ctx

    class _PrivateKey(_private_key):
        def __init__(self, privkey=None, raw=True, flags=None, ctx=None):  # noqa: ARG002, FBT002
            super().__init__(privkey, raw)

    class _PublicKey(_public_key):
        def __init__(self, pubkey=None, raw=False, flags=None, ctx=None):  # noqa: ARG002, FBT002
            super().__init__(pubkey, raw)

    secp256k1.Base, secp256k1.ALL_FLAGS = _Base, None
    secp256k1.PrivateKey, secp256k1.PublicKey = _PrivateKey, _PublicKey

import origin_ledger_sdk as sdk
from sawtooth_sdk.protobuf.batch_pb2 import BatchList

__all__ = ["BatchList", "sdk"]
