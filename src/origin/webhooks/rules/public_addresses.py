"""The public-address guard: which IP addresses webhooks may go to.

Contract: http-api, Webhook subscriptions.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORBIDDEN: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        # Shared by the customers of a carrier or cloud; Alibaba's metadata server is 100.100.100.200.
        "100.64.0.0/10",
        # The host of each virtual machine at Azure, although in public space.
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "::/96",
        "fec0::/10",
        # For documentation (RFC 9637); Python 3.11 does not know it.
        "3fff::/20",
    )
)
"""Not public, in addition to what `is_global` excludes."""
_NAT64 = ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
_UNUSED = ip_network("0.0.0.0/8")
"""No translator sends packets there."""


def is_public(address: str, forbidden: Collection[Network] = ()) -> bool:
    """Tell whether this is an address of one host on the public internet.

    It is not if it is private, loopback, link-local, shared (carrier-grade NAT), reserved, multicast
    or unspecified, or a cloud's own host in public space. An address that leads to an IPv4 address
    (mapped, NAT64, 6to4) is judged by the IPv4 address.

    :param forbidden: Further networks that are not allowed.
    :raises ValueError: this is no IP address.
    """
    found = ip_address(address.partition("%")[0])
    leads_to = _leads_to(found)
    return not is_within(address, forbidden) and bool(leads_to) and all(map(_is_public, leads_to))


def is_within(address: str, networks: Collection[Network]) -> bool:
    """Tell whether this address, or an IPv4 address that it leads to, is in one of these networks.

    :raises ValueError: this is no IP address.
    """
    found = ip_address(address.partition("%")[0])
    return any(_is_in(each, networks) for each in (found, *_leads_to(found)))


def _is_public(address: IpAddress) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not _is_in(address, _FORBIDDEN)


def _leads_to(address: IpAddress) -> Sequence[IpAddress]:
    """Return the IPv4 addresses that an address leads to, or the address itself."""
    inside = _ipv4_inside(address) if isinstance(address, IPv6Address) else None
    return [address] if inside is None else inside


def _is_in(address: IpAddress, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def _ipv4_inside(address: IPv6Address) -> list[IPv4Address] | None:
    """Return the IPv4 addresses that packets to this address may go to; None: none."""
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address in _NAT64:
        return [_embedded(address, 96)]
    if address in _LOCAL_NAT64:
        return _locally_translated(address)
    return None


def _locally_translated(address: IPv6Address) -> list[IPv4Address]:
    """Return what a translator of `64:ff9b:1::/48` (RFC 8215) may turn an address into.

    A network may use a longer prefix within the /48, which only its own translator knows. So an
    address with bits beyond those of the /48 form is read under each prefix length. Results in
    0.0.0.0/8 are left out: no packet goes there.
    """
    if int(address) & (2**40 - 1) == 0:
        return [_embedded(address, 48)]
    candidates = [_embedded(address, length) for length in (48, 56, 64, 96)]
    return [each for each in candidates if each not in _UNUSED]


def _embedded(address: IPv6Address, prefix_length: int) -> IPv4Address:
    """Return the IPv4 address after a prefix of this length (RFC 6052, 2.2), without bits 64 to 71."""
    octets = address.packed
    usable = octets[:8] + octets[9:] if prefix_length < 96 else octets
    start = prefix_length // 8
    return IPv4Address(usable[start : start + 4])
