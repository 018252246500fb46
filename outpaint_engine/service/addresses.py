"""Which internet addresses a server may fetch from on a stranger's behalf: public ones only."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["is_public"]

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = frozenset({0x00005EFE, 0x02005EFE})

# Assigned as public or too new for some Python's table, yet not places to fetch a picture from.
SPECIAL = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT; a cloud's metadata service answers at 100.100.100.200
    IPv4Network("168.63.129.16/32"),  # Azure's host agent, reachable only from inside its machines
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a cloud's metadata service answers at 192.0.0.192
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
SPECIAL_6 = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo and ORCHID among them
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
)


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the public internet's; False for what is no address.

    An IPv6 address that carries an IPv4 address inside (mapped, compatible, 6to4, Teredo, ISATAP) is refused
    whatever it carries: no picture's host needs one. The one exception is NAT64's well-known prefix, by which
    a machine without IPv4 reaches the whole IPv4 internet; there the address inside is what counts.
    The registries: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_4(parsed) if isinstance(parsed, IPv4Address) else _is_public_6(parsed)


def _is_public_4(address: IPv4Address) -> bool:
    # `is_global` alone passes multicast.
    plain = address.is_global and not address.is_multicast and not address.is_reserved
    return plain and not any(address in network for network in SPECIAL)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    number = int(address)
    if address in NAT64:
        return _is_public_4(IPv4Address(number & 0xFFFFFFFF))
    plain = address in GLOBAL_UNICAST and address.is_global and not address.is_multicast
    isatap = (number >> 32 & 0xFFFFFFFF) in ISATAP
    return plain and not isatap and not any(address in network for network in SPECIAL_6)
