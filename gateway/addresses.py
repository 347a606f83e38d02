"""PURE. Where a request comes from: the peer's address, or what a proxy says that we trust."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_SITE_BITS = 64
"""What one subscriber has of IPv6: counting single addresses there would count nothing."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Of addresses and CIDR blocks with commas between. Raises ValueError, a sentence."""
    networks: list[Network] = []
    for named in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(named))
        except ValueError:
            raise ValueError(f"{named} is neither an IP address nor a network like 10.0.0.0/8") from None
    return tuple(networks)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether what this peer says in X-Forwarded-… is believed."""
    return (address := _parse(peer)) is not None and any(address in network for network in trusted)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The client's, as far as it can be known: each proxy appends whom it heard, so it is the last one that is no proxy.

    `forwarded_for`: all of X-Forwarded-For. What is left of the last untrusted address is anybody's invention.
    """
    found = peer
    for hop in reversed(forwarded_for.split(",")):
        if not is_trusted(found, trusted) or (address := _parse(hop.strip())) is None:
            break
        found = str(address)
    return found


def counted_as(address: str) -> str | None:
    """Under which name an address is counted; None for this machine's own, which are not."""
    parsed = _parse(address)
    if parsed is None or parsed.is_loopback:
        return None
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, _IPV6_SITE_BITS), strict=False))


def is_loopback(host: str) -> bool:
    """Whether who listens on `host` is heard on this machine only."""
    return host == "localhost" or ((address := _parse(host)) is not None and address.is_loopback)


def _parse(text: str) -> Address | None:
    """Also with a port, or in brackets; an IPv4 address in IPv6's clothes is one."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
