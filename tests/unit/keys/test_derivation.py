"""Keys and addresses equal the contract's test vector and bip32utils."""

from datetime import UTC, datetime, timedelta, timezone

import bip32utils
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.keys.derivation import (
    AddressKind,
    ExtendedKey,
    IndexOutOfRange,
    master_key,
    metering_point_key,
    new_master_key,
    period_key,
    settlement_address,
    trade_branch_key,
)

MASTER = master_key(bytes(range(32)))
POINT_BASE58 = (
    "xprv9w6CJkJVUayWrqccWYW7PPjnsKjVbag3eTwyrwkdDwXuza7Wn6LnWByC3mPjYshEAR3N1C54BXHKtgJfp3hiujwi"
    "uLpH5B3DMobVNz7dK5y"
)

indexes = st.integers(0, 2**31 - 1)


def test_master_key_equals_the_contract():
    assert MASTER.base58() == (
        "xprv9s21ZrQH143K3EuJY8RRCWBLXFgB9WCcFKsv28bcaDy9LUZtXgHe9q9V8kLi4aJ6H8r5X2wu9gz2ZYXbAhtsA"
        "cJKX8Z1Ackw6Wq1oi8DEEk"
    )


def test_metering_point_key_equals_the_contract():
    assert metering_point_key(MASTER, 0).base58() == POINT_BASE58


def test_addresses_of_a_period_equal_the_contract():
    """Seconds of the begin count as 0, and its time zone doesn't matter."""
    begin = datetime(2020, 1, 1, 13, 0, 59, tzinfo=timezone(timedelta(hours=1)))
    key = period_key(metering_point_key(MASTER, 0), begin)
    assert [key.address(kind) for kind in AddressKind] == [
        "849c0b9507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc69a2eb60e",
        "5a98399507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc68d9a3810",
        "ba48179507e104cca372cd7a9b36b1b69e9e630331b14bd53c8d2783c0edc691ef41da",
    ]


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32), indexes, indexes)
def test_a_public_branch_key_derives_its_childrens_addresses(entropy: bytes, i: int, k: int):
    key = master_key(entropy).child(i)
    for kind in AddressKind:
        assert key.public_branch_key.address(k, kind) == key.child(k).address(kind)


@pytest.mark.parametrize("index", [-1, 2**31])
def test_a_public_branch_key_has_no_hardened_children(index: int):
    with pytest.raises(IndexOutOfRange):
        MASTER.public_branch_key.address(index, AddressKind.GGO)


def test_repr_of_a_public_branch_key_shows_no_key():
    assert MASTER.public_branch_key.public_key.hex() not in repr(MASTER.public_branch_key)
    assert repr(MASTER.public_branch_key.chain_code) not in repr(MASTER.public_branch_key)


def test_addresses_of_traded_ggos_equal_the_contract():
    branch = trade_branch_key(MASTER)
    assert [branch.child(k).address(AddressKind.GGO) for k in (0, 1)] == [
        "849c0b4be46e58c48261d223c447a5dea4906a9472c7f393d92042e069be8f36f064f6",
        "849c0b8345a103dc0615d8e632f003756e8f7084c10de665b0c1334e19a2cdbafde17c",
    ]


@settings(max_examples=25, deadline=None)
@given(entropy=st.binary(min_size=32, max_size=64), path=st.lists(indexes, min_size=1, max_size=4))
def test_derivation_equals_bip32utils(entropy: bytes, path: list[int]):
    """Key, chain code and Base58 are equal on every path."""
    ours, theirs = master_key(entropy), bip32utils.BIP32Key.fromEntropy(entropy)
    for index in path:
        ours, theirs = ours.child(index), theirs.ChildKey(index)
        assert ours.base58() == theirs.ExtendedKey()
        assert ours.public_key == theirs.PublicKey()


@given(index=indexes)
def test_a_key_read_from_base58_derives_the_same_children(index: int):
    point = metering_point_key(MASTER, 7)
    read = ExtendedKey.from_base58(point.base58())
    assert read.base58() == point.base58()
    assert read.child(index).base58() == point.child(index).base58()


@given(index=indexes)
def test_a_settlements_address_is_derived_from_its_measurements(index: int):
    key = metering_point_key(MASTER, 0).child(index)
    measurement = key.address(AddressKind.MEASUREMENT)
    assert settlement_address(measurement) == key.address(AddressKind.SETTLEMENT)


@pytest.mark.parametrize("index", [-1, 2**31, 2**32])
def test_hardened_indexes_are_rejected(index: int):
    with pytest.raises(IndexOutOfRange):
        MASTER.child(index)


def test_the_last_period_with_a_key_begins_in_january_2038():
    point = metering_point_key(MASTER, 0)
    last = datetime(2038, 1, 19, 3, 14, tzinfo=UTC)
    assert period_key(point, last).index == 2**31 - 8
    with pytest.raises(IndexOutOfRange):
        period_key(point, last + timedelta(minutes=1))


def test_new_master_keys_differ():
    assert new_master_key() != new_master_key()


def test_repr_of_a_key_shows_no_key():
    assert POINT_BASE58 not in repr(ExtendedKey.from_base58(POINT_BASE58))
    assert repr(metering_point_key(MASTER, 0)) == "ExtendedKey(depth=2)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xprv",
        POINT_BASE58[:-1] + "z",
        bip32utils.BIP32Key.fromEntropy(bytes(32)).ExtendedKey(private=False),
    ],
)
def test_an_invalid_extended_private_key_is_rejected_without_quoting_it(text: str):
    with pytest.raises(ValueError, match=r"^(?!.*xp).*$"):
        ExtendedKey.from_base58(text)
