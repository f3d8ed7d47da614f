"""The public-address guard, also for IPv4 addresses within IPv6 ones.

RFC 4291, 3056, 6052, 8215.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.webhooks.rules.public_addresses import is_public

IPV4 = st.ip_addresses(v=4)
NAT64 = IPv6Network("64:ff9b::/96")
FORBIDDEN_IPV4 = [
    "127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "100.127.255.255", "168.63.129.16", "0.1.2.3", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "192.0.0.192", "198.18.0.1", "203.0.113.1",
]  # fmt: skip
PUBLIC_IPV4 = ["1.1.1.1", "8.8.8.8", "52.10.3.4", "93.184.216.34", "100.63.0.1", "168.63.129.17"]


def _bits(address: IPv4Address, shift: int) -> int:
    return int(address) << shift


def mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | int(address))


def sixtofour(address: IPv4Address) -> IPv6Address:
    return IPv6Address(0x2002 << 112 | _bits(address, 80) | 1)


def nat64(address: IPv4Address) -> IPv6Address:
    return IPv6Address(int(NAT64[0]) | int(address))


def local_nat64(address: IPv4Address, length: int = 48, prefix: str = "64:ff9b:1::") -> IPv6Address:
    """Embed an IPv4 address as in RFC 6052, 2.2."""
    if length == 96:
        return IPv6Address(int(IPv6Address(prefix)) | int(address))
    before = 64 - length
    high, low = int(address) >> (32 - before), int(address) & (2 ** (32 - before) - 1)
    return IPv6Address(int(IPv6Address(prefix)) | high << 64 | low << (56 - (32 - before)))


def local_nat64_96(address: IPv4Address) -> IPv6Address:
    return local_nat64(address, 96)


WRAPPED = [mapped, sixtofour, nat64, local_nat64, local_nat64_96]


def test_the_helpers_give_the_examples_of_the_rfc():
    """RFC 6052, 2.4, with the prefixes of this rule."""
    address = IPv4Address("192.0.2.33")
    assert local_nat64(address) == IPv6Address("64:ff9b:1:c000:2:2100::")
    assert local_nat64(address, 56, "64:ff9b:1:300::") == IPv6Address("64:ff9b:1:3c0:0:221::")
    assert local_nat64(address, 64, "64:ff9b:1:344::") == IPv6Address("64:ff9b:1:344:c0:2:2100::")
    assert nat64(address) == IPv6Address("64:ff9b::192.0.2.33")


@pytest.mark.parametrize("wrap", [lambda address: address, *WRAPPED])
@pytest.mark.parametrize("address", FORBIDDEN_IPV4)
def test_wrapped_forbidden_addresses_are_forbidden(wrap, address):
    assert not is_public(str(wrap(IPv4Address(address))))


@pytest.mark.parametrize("wrap", [lambda address: address, *WRAPPED])
@pytest.mark.parametrize("address", PUBLIC_IPV4)
def test_wrapped_public_addresses_are_allowed(wrap, address):
    assert is_public(str(wrap(IPv4Address(address))))


@pytest.mark.parametrize("wrap", WRAPPED)
@given(address=IPV4)
def test_a_wrapped_address_is_judged_by_the_one_inside(wrap, address):
    assert is_public(str(wrap(address))) == is_public(str(address))


@given(
    inside=st.sampled_from(FORBIDDEN_IPV4).map(IPv4Address).filter(lambda each: int(each) >> 24),
    length=st.sampled_from([56, 64, 96]),
    data=st.data(),
)
def test_longer_prefixes_of_a_local_translator_hide_no_address(inside, length, data):
    """For every prefix, except where the result is also an exact /48 address (hosts `.0`)."""
    free = data.draw(st.integers(0, 2 ** (min(length, 64) - 48) - 1))
    prefix = IPv6Address(int(IPv6Address("64:ff9b:1::")) | free << (128 - min(length, 64)))
    wrapped = local_nat64(inside, length, str(prefix))
    if int(wrapped) & (2**40 - 1):
        assert not is_public(str(wrapped))


@given(inside=IPV4, suffix=st.integers(1, 2**40 - 1))
def test_bits_after_the_address_hide_nothing(inside, suffix):
    """A translator may ignore these bits."""
    if not is_public(str(inside)) and inside not in ip_network("0.0.0.0/8"):
        assert not is_public(str(IPv6Address(int(local_nat64(inside)) | suffix)))


@pytest.mark.parametrize("wrap", [lambda address: address, *WRAPPED])
@given(address=IPV4, length=st.integers(8, 32))
def test_wrapped_addresses_of_forbidden_networks_are_forbidden(wrap, address, length):
    network = ip_network((int(address), length), strict=False)
    assert not is_public(str(wrap(address)), [network])


@given(address=st.ip_addresses(v=6), length=st.integers(1, 128))
def test_addresses_of_forbidden_ipv6_networks_are_forbidden(address, length):
    network = IPv6Network((int(address), length), strict=False)
    assert not is_public(str(address), [network])
    assert is_public("1.1.1.1", [network])


@pytest.mark.parametrize(
    "address",
    ["::", "::1", "::127.0.0.1", "::8.8.8.8", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1",
     "ff02::1", "2001:db8::1", "2001::1", "2001:0:808:808::f7f7:f7f7", "::ffff:0:8.8.8.8",
     "3fff::1"],
)  # fmt: skip
def test_other_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["2606:4700:4700::1111", "2a00:1450:400f:80d::200e"])
def test_public_ipv6_addresses_are_allowed(address):
    assert is_public(address)
