"""Addresses, checked with the contract's test vector."""

import bip32utils
import pytest

from sandbox.addresses import Kind, address_of, kind_of, same_key

POINT = (
    "xprv9w6CJkJVUayWrqccWYW7PPjnsKjVbag3eTwyrwkdDwXuza7Wn6LnWByC3mPjYshEAR3N1C54BXHKtgJfp3"
    "hiujwiuLpH5B3DMobVNz7dK5y"
)
VECTOR = {
    Kind.MEASUREMENT: "5a98399507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc68d9a3810",
    Kind.GGO: "849c0b9507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc69a2eb60e",
    Kind.SETTLEMENT: "ba48179507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc691ef41da",
}


@pytest.mark.parametrize("kind", list(Kind))
def test_addresses_of_the_contracts_vector(kind):
    key = bip32utils.BIP32Key.fromExtendedKey(POINT).ChildKey(1577880000)
    assert address_of(kind, key.PublicKey()) == VECTOR[kind]
    assert kind_of(VECTOR[kind]) is kind


def test_an_address_with_one_changed_digit_has_no_kind():
    for place in range(70):
        digit = "0" if VECTOR[Kind.GGO][place] != "0" else "1"
        assert kind_of(VECTOR[Kind.GGO][:place] + digit + VECTOR[Kind.GGO][place + 1 :]) is None


@pytest.mark.parametrize("wrong", ["", "849c0b", VECTOR[Kind.GGO].upper(), VECTOR[Kind.GGO] + "00"])
def test_a_malformed_address_has_no_kind(wrong):
    assert kind_of(wrong) is None


def test_addresses_of_one_key_are_recognised():
    assert same_key(VECTOR[Kind.GGO], VECTOR[Kind.MEASUREMENT])
    assert not same_key(
        VECTOR[Kind.GGO], "849c0b4be46e58c48261d223c447a5dea4906a9472c7f393d92042e069be8f36f064f6"
    )
