"""Builds signed batches with the ledger SDK. The only module that imports it.

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
    """The split of a GGO. Targets are (address, Wh) in the contract's order."""

    source: ExtendedKey
    targets: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Retirement:
    """The retirement of a GGO: its key, and the key of the measurement."""

    ggo: ExtendedKey
    measurement: ExtendedKey


@dataclass(frozen=True)
class SignedBatch:
    """A batch as it is posted: always the same bytes. The id is its header's signature."""

    id: str
    batch_list: bytes


class _KeyOnlySigner:
    """A signer's public key, with empty signatures, for transactions that are signed afterwards."""

    def __init__(self, signer: Any) -> None:
        self.get_public_key = signer.get_public_key

    def sign(self, _: bytes) -> str:
        """Return an empty signature; a real one would take a third of the time of signing a batch."""
        return ""


class _WithNonce:
    """Adds a nonce to each transaction, which the SDK does not.

    Without it, retiring a whole GGO again after a rollback would give the bytes of the refused
    batch, which validators remember and do not execute again.
    """

    def sign_transaction(
        self, batch_signer: Any, transaction_signer: Any, *args: Any, **kwargs: Any
    ) -> Transaction:
        """Let the SDK make the transaction; add the nonce, and sign it."""
        made = super().sign_transaction(  # type: ignore[misc] # mixed into the SDK's requests
            batch_signer, _KeyOnlySigner(transaction_signer), *args, **kwargs
        )
        header = TransactionHeader.FromString(made.header)
        header.nonce = secrets.token_hex(16)
        signed = header.SerializeToString()
        return Transaction(
            header=signed, header_signature=transaction_signer.sign(signed), payload=made.payload
        )

    def _to_bytes(self, schema: type[Schema], request: Any) -> bytes:
        """Serialise as the SDK does, with a schema made once: making one takes longer than using it."""
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


def transaction_ids(batch_list: bytes) -> list[str]:
    """Return the ids of the transactions in a signed batch, in their order.

    :param batch_list: As `SignedBatch.batch_list`.
    """
    batches = BatchList.FromString(batch_list).batches
    return [each.header_signature for batch in batches for each in batch.transactions]
