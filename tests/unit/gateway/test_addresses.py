"""Whose word about an address is believed."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.addresses import client_address, counted_as, is_loopback, parse_networks

PROXIES = parse_networks("10.0.0.0/8, 192.0.2.1 ,fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # it is nobody we trust
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the client invented the first
        ("10.1.1.1", "6.6.6.6, 198.51.100.1, 192.0.2.1", "198.51.100.1"),
        ("10.1.1.1", "198.51.100.1, nonsense", "10.1.1.1"),
        ("10.1.1.1", "10.2.2.2, 10.3.3.3", "10.2.2.2"),
        ("::ffff:10.1.1.1", "198.51.100.1:4711", "198.51.100.1"),
        ("fd00::1", "[2001:db8::7]:443", "2001:db8::7"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_last_that_is_no_proxy_is_the_client(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


@given(st.ip_addresses(v=4), st.text(alphabet="0123456789.,: []abcdef", max_size=40))
def test_nobody_invents_an_address(real: IPv4Address, invented: str) -> None:
    """Whatever a client sends, the proxy appends the truth."""
    assert client_address("203.0.113.9", f"{invented}, {real}", PROXIES) == "203.0.113.9"
    assume(not any(real in network for network in PROXIES))
    assert client_address("10.1.1.1", f"{invented}, {real}", PROXIES) == str(real)


def test_how_addresses_are_counted() -> None:
    """A subscriber has a /64 of IPv6; this machine's own are not counted."""
    assert counted_as("203.0.113.9") == "203.0.113.9"
    assert counted_as("2001:db8:1:2:3:4:5:6") == counted_as("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert counted_as("::ffff:203.0.113.9") == "203.0.113.9"
    for own in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""):
        assert counted_as(own) is None


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "10.0.0.1", "example.com")))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy", "10.0.0.1/8", "*"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="neither an IP address nor a network"):
        parse_networks(f"10.0.0.1,{text}")


def test_no_networks() -> None:
    assert parse_networks(" , ") == ()
