"""Batches that the ledger doesn't accept: wrong signatures and headers."""

import hashlib

import pytest

from sandbox.ledger.envelope import parse_batches
from sandbox.ledger.errors import RefusedError
from tests.unit.sandbox.batches import BATCHER, Key, as_bytes, batch, split


def a_split(**more):
    return split(Key(), [(Key().ggo, 10)], **more)


def high_s(signature: str) -> str:
    """Return the signature with the other value of s, which libsecp256k1 doesn't accept."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    return signature[:64] + f"{order - int(signature[64:], 16):064x}"


def refusal_of(body: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        parse_batches(body)
    return caught.value


def test_a_valid_batch_is_parsed():
    key, target = Key(), Key()
    one = split(key, [(target.ggo, 10)])
    whole = batch(one)
    (parsed,) = parse_batches(as_bytes(whole))
    assert parsed.id == whole.header_signature
    assert parsed.transactions[0].id == one.header_signature
    assert parsed.transactions[0].signer == key.public
    assert parsed.transactions[0].inputs == (key.ggo, target.ggo)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", 34), (b"\x12\x00", 34), (b"no protobuf at all", 35), (b"\x0a\xff", 35)],
    ids=["empty", "no batch", "text", "cut off"],
)
def test_a_body_without_batches_is_an_error(body, code):
    assert refusal_of(body).code == code


def test_every_tampering_is_noticed():
    """One change at a time, in the batch or in its transaction: code 30."""
    other = Key()
    good = a_split()
    payload_swapped = a_split()
    payload_swapped.payload = b"{}"
    header_swapped = a_split()
    header_swapped.header = a_split().header
    tampered = {
        "payload": batch(payload_swapped),
        "header under an old signature": batch(header_swapped),
        "payload hash": batch(a_split(payload_sha512=hashlib.sha512(b"?").hexdigest())),
        "batcher": batch(a_split(batcher_public_key=other.public.hex())),
        "signer named, not signing": batch(a_split(signer_public_key=other.public.hex())),
        "key that is none": batch(a_split(signer_public_key="02" * 33)),
        "signature not hex": batch(a_split(signature="z" * 128)),
        "signature too short": batch(a_split(signature="ab" * 63)),
        "signature in capitals": batch(a_split(signature=good.header_signature.upper())),
        "batch signed by another": batch(good, signer_public_key=other.public.hex()),
        "batch signature of other bytes": batch(good, signature=BATCHER.sign(b"?")),
        "batch names another transaction": batch(
            good, transaction_ids=[a_split().header_signature]
        ),
        "batch names too few": batch(good, a_split(), transaction_ids=[good.header_signature]),
        "a transaction twice": batch(good, good),
        "no transaction": batch(),
    }
    malleable = batch(good)
    malleable.header_signature = high_s(malleable.header_signature)
    tampered["signature in its other form"] = malleable
    refused = {name: refusal_of(as_bytes(one)).code for name, one in tampered.items()}
    assert refused == dict.fromkeys(tampered, 30)


def test_one_bad_batch_makes_the_whole_list_fail():
    bad = batch(a_split(), signature=BATCHER.sign(b"?"))
    assert refusal_of(as_bytes(batch(a_split()), bad)).code == 30
