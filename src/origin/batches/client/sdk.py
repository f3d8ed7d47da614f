"""Signed batches for the ledger, built with the ledger SDK: the one place that imports it.

Contract: domain, Batch and The ledger's rules.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import origin.batches.client.secp256k1_names  # noqa: F401 - the SDK needs it when it is imported

# isort: split

from marshmallow import Schema
from origin_ledger_sdk import (
    Batch,
    RetireGGOPart,
    RetireGGORequest,
    SplitGGOPart,
    SplitGGORequest,
)
from sawtooth_sdk.protobuf.batch_pb2 import BatchList
from sawtooth_sdk.protobuf.transaction_pb2 import (
    Transaction,
    TransactionHeader,
)

from origin.keys.derivation import AddressKind, ExtendedKey


@dataclass(frozen=True)
class Split:
    """A GGO and what it is split into: (address, Wh) in the contract's order."""

    source: ExtendedKey
    targets: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Retirement:
    """A GGO's key, and the key of the measurement that it is retired to."""

    ggo: ExtendedKey
    measurement: ExtendedKey


@dataclass(frozen=True)
class SignedBatch:
    """A batch as it is posted, every time the same bytes; the id is its header's signature."""

    id: str
    batch_list: bytes


class _PublicHalf:
    """Of a signer: its public key, and signatures that nobody will look at."""

    def __init__(self, signer: Any) -> None:
        self.get_public_key = signer.get_public_key

    def sign(self, _: bytes) -> str:
        """Nothing is signed, for a third of what signing a batch costs."""
        return ""


class _WithNonce:
    """Gives each transaction a nonce, which the SDK doesn't.

    Without it, retiring a whole GGO again after a rollback would give the bytes of the refused
    batch, which validators remember and don't execute again.
    """

    def sign_transaction(
        self, batch_signer: Any, transaction_signer: Any, *args: Any, **kwargs: Any
    ) -> Transaction:
        """Have the SDK make it, and sign it with the nonce."""
        made = super().sign_transaction(  # type: ignore[misc] # mixed into the SDK's requests
            batch_signer, _PublicHalf(transaction_signer), *args, **kwargs
        )
        header = TransactionHeader.FromString(made.header)
        header.nonce = secrets.token_hex(16)
        signed = header.SerializeToString()
        return Transaction(
            header=signed, header_signature=transaction_signer.sign(signed), payload=made.payload
        )

    def _to_bytes(self, schema: type[Schema], request: Any) -> bytes:
        """As the SDK does, by a schema that is made once: making one takes longer than its use."""
        text: str = _made(schema).dumps(request)
        return text.encode()


@lru_cache
def _made(schema: type[Schema]) -> Schema:
    return schema()


class _SplitRequest(_WithNonce, SplitGGORequest):  # type: ignore[misc] # the SDK has no types
    pass


class _RetireRequest(_WithNonce, RetireGGORequest):  # type: ignore[misc] # the SDK has no types
    pass


def sign_batch(
    signer: ExtendedKey, split: Split | None, retirements: Sequence[Retirement]
) -> SignedBatch:
    """Build and sign one compose's batch: the split, then each retirement.

    :param signer: The user's master key.
    """
    batch = Batch(signer.private_key)
    if split is not None:
        batch.add_request(
            _SplitRequest(
                source_private_key=split.source.private_key,
                source_address=split.source.address(AddressKind.GGO),
                parts=[SplitGGOPart(address, amount) for address, amount in split.targets],
            )
        )
    for each in retirements:
        batch.add_request(
            _RetireRequest(
                settlement_address=each.measurement.address(AddressKind.SETTLEMENT),
                measurement_address=each.measurement.address(AddressKind.MEASUREMENT),
                measurement_private_key=each.measurement.private_key,
                parts=[RetireGGOPart(each.ggo.address(AddressKind.GGO), each.ggo.private_key)],
            )
        )
    signed = batch.get_signed_batch()
    return SignedBatch(
        id=signed.header_signature, batch_list=BatchList(batches=[signed]).SerializeToString()
    )
