"""Parses a `BatchList`, and checks its signatures and headers.

A Sawtooth validator makes these checks before it accepts a batch. A failure is answered with code
30, 34 or 35; the batch never becomes INVALID.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from google.protobuf.message import DecodeError
from sawtooth_sdk.protobuf.batch_pb2 import BatchHeader, BatchList
from sawtooth_sdk.protobuf.transaction_pb2 import TransactionHeader

from sandbox.ledger.errors import RefusedError

_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Transaction:
    """A transaction with a valid signature and payload hash. `signer` is a compressed key."""

    id: str
    family: str
    version: str
    signer: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dependencies: tuple[str, ...]
    payload: bytes


@dataclass(frozen=True)
class Batch:
    """A batch with a valid signature and the transactions that its header lists."""

    id: str
    signer: str
    transactions: tuple[Transaction, ...]


def parse_batches(body: bytes) -> list[Batch]:
    """Return the batches in a request's body; RefusedError 30, 34 or 35 if they aren't valid."""
    if not body:
        raise RefusedError(34)
    batch_list = BatchList()
    try:
        batch_list.ParseFromString(body)
    except DecodeError as error:
        raise RefusedError(35) from error
    if not batch_list.batches:
        raise RefusedError(34)
    try:
        return [_batch(raw) for raw in batch_list.batches]
    except DecodeError as error:
        raise RefusedError(30, "A header could not be read.") from error


def _batch(raw: Any) -> Batch:
    header = BatchHeader()
    header.ParseFromString(raw.header)
    _check_signature("batch", header.signer_public_key, raw.header, raw.header_signature)
    if not raw.transactions:
        raise RefusedError(30, "The batch holds no transaction.")
    transactions = tuple(_transaction(one, header.signer_public_key) for one in raw.transactions)
    ids = [transaction.id for transaction in transactions]
    if list(header.transaction_ids) != ids:
        raise RefusedError(30, "The batch header names other transactions.")
    if len(set(ids)) != len(ids):
        raise RefusedError(30, "The batch holds a transaction twice.")
    return Batch(raw.header_signature, header.signer_public_key, transactions)


def _transaction(raw: Any, batcher: str) -> Transaction:
    header = TransactionHeader()
    header.ParseFromString(raw.header)
    signer = _check_signature(
        "transaction", header.signer_public_key, raw.header, raw.header_signature
    )
    if header.batcher_public_key != batcher:
        raise RefusedError(30, "The transaction was made for another batch signer.")
    if header.payload_sha512 != hashlib.sha512(raw.payload).hexdigest():
        raise RefusedError(30, "The payload is not the one in the transaction header.")
    return Transaction(
        id=raw.header_signature,
        family=header.family_name,
        version=header.family_version,
        signer=signer,
        inputs=tuple(header.inputs),
        outputs=tuple(header.outputs),
        dependencies=tuple(header.dependencies),
        payload=raw.payload,
    )


def _check_signature(what: str, public_key: str, message: bytes, signature: str) -> bytes:
    """Return the signer's compressed key; RefusedError 30 unless the signature is valid."""
    refused = RefusedError(30, f"The signature of the {what} header does not hold.")
    if not _SIGNATURE.fullmatch(signature):
        raise refused
    try:
        key = PublicKey(bytes.fromhex(public_key))
        der = cdata_to_der(deserialize_compact(bytes.fromhex(signature)))
    except ValueError as error:
        raise refused from error
    if not key.verify(der, message):
        raise refused
    return key.format(compressed=True)
