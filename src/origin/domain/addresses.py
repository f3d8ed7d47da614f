"""Which network addresses a webhook may go to (contract: http-api, Webhook subscriptions)."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Beyond what `is_global` says: what leads to IPv4 addresses within, or is for one site alone.
_TUNNELS = tuple(
    ip_network(network)
    for network in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "::/96",
        "fec0::/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
    )
)


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet, for one host.

    Not private, loopback, link-local, shared (carrier-grade NAT), reserved, multicast or unspecified,
    and none that wraps an IPv4 address.

    :raises ValueError: no IP address.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return _is_public(found)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _TUNNELS)
