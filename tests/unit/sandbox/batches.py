"""Builds batches from single parts, so that a test can make one of them wrong."""

import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta

from coincurve import PrivateKey
from sawtooth_sdk.protobuf.batch_pb2 import Batch, BatchHeader, BatchList
from sawtooth_sdk.protobuf.transaction_pb2 import Transaction, TransactionHeader

from sandbox.addresses import Kind, address_of

HOUR = datetime(2020, 1, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


class Key:
    """A key pair and its three addresses; each instance has the next key of a fixed series."""

    def __init__(self) -> None:
        self.private = PrivateKey(hashlib.sha256(b"key %d" % next(_numbers)).digest())
        self.public = self.private.public_key.format()
        self.ggo = address_of(Kind.GGO, self.public)
        self.measurement = address_of(Kind.MEASUREMENT, self.public)
        self.settlement = address_of(Kind.SETTLEMENT, self.public)

    def sign(self, message: bytes) -> str:
        return self.private.sign_recoverable(message)[:64].hex()


BATCHER = Key()


def transaction(
    key, family, payload, touched, *, batcher=BATCHER, signature=None, reads=(), **header
):
    """Return a signed transaction; `touched` are its inputs and outputs, `header` overrides fields."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    fields = {
        "batcher_public_key": batcher.public.hex(),
        "family_name": family,
        "family_version": "0.1",
        "inputs": [*touched, *reads],
        "outputs": list(touched),
        "payload_sha512": hashlib.sha512(raw).hexdigest(),
        "signer_public_key": key.public.hex(),
    }
    head = TransactionHeader(**{**fields, **header}).SerializeToString()
    return Transaction(header=head, header_signature=signature or key.sign(head), payload=raw)


def batch(*transactions, key=BATCHER, signature=None, **header):
    """Return a signed batch of these transactions; `header` overrides fields."""
    fields = {
        "signer_public_key": key.public.hex(),
        "transaction_ids": [one.header_signature for one in transactions],
    }
    head = BatchHeader(**{**fields, **header}).SerializeToString()
    return Batch(
        header=head, header_signature=signature or key.sign(head), transactions=transactions
    )


def as_bytes(*batches):
    return BatchList(batches=batches).SerializeToString()


def split(key, parts, **more):
    """Return a split of a key's GGO; `parts` are pairs of address and Wh."""
    payload = {
        "origin": key.ggo,
        "parts": [{"address": address, "amount": amount} for address, amount in parts],
    }
    touched = [key.ggo, *(address for address, _ in parts)]
    return transaction(key, "SplitGGORequest", payload, touched, **more)


def transfer(key, destination, **more):
    payload = {"origin": key.ggo, "destination": destination}
    return transaction(key, "TransferGGORequest", payload, [key.ggo, destination], **more)


def retire(key, settlement, **more):
    payload = {"origin": key.ggo, "settlement_address": settlement}
    return transaction(key, "RetireGGORequest", payload, [key.ggo], **more)


def settle(key, ggos, *, signer=None, settlement=None, **more):
    """Return a settlement of a key's measurement by the GGOs at these addresses."""
    settlement = settlement or key.settlement
    payload = {
        "settlement_address": settlement,
        "measurement_address": key.measurement,
        "ggo_addresses": list(ggos),
    }
    return transaction(
        signer or key,
        "SettlementRequest",
        payload,
        [settlement],
        **{"reads": [key.measurement, *ggos], **more},
    )


def measured(amount, kind="CONSUMPTION", begin=HOUR, sector="DK1"):
    """Return the state's record of a measurement."""
    return {
        "amount": amount,
        "type": kind,
        "begin": begin.isoformat(),
        "end": (begin + timedelta(hours=1)).isoformat(),
        "sector": sector,
    }


def ggo(amount, begin=HOUR, sector="DK1"):
    """Return the state's record of a GGO."""
    return {
        "origin": "5a9839" + "0" * 64,
        "amount": amount,
        "begin": begin.isoformat(),
        "end": (begin + timedelta(hours=1)).isoformat(),
        "sector": sector,
        "tech_type": "T010000",
        "fuel_type": "F01050100",
        "emissions": {"CO2": 0.5},
        "next": None,
    }
