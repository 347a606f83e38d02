"""Which pages may talk to us."""

from __future__ import annotations

import pytest

from gateway.origins import is_allowed, normal, parse_origins

ALLOWED = parse_origins("https://app.example.com, http://localhost:3000 ,capacitor://localhost,HTTPS://B.example:443")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "HTTPS://APP.example.com:443",
        "http://localhost:3000",
        "capacitor://localhost",
        "https://b.example",
    ],
)
def test_those_on_the_list(origin: str) -> None:
    assert is_allowed(origin, host="voice.example", scheme=None, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://voice.example", "voice.example", None),
        ("https://voice.example", "VOICE.example:443", None),
        ("http://voice.example:8000", "voice.example:8000", None),
        ("http://[::1]:8000", "[::1]:8000", "http"),
        ("https://voice.example", "voice.example", "https"),
    ],
)
def test_our_own(origin: str, host: str, scheme: str | None) -> None:
    assert is_allowed(origin, host=host, scheme=scheme, allowed=frozenset())


@pytest.mark.parametrize(
    ("origin", "scheme"),
    [
        ("https://evil.example", None),
        ("https://voice.example.evil.example", None),
        ("https://voice.example:8443", None),
        ("http://voice.example", "https"),
        ("https://app.example.com.", None),
        ("https://app.example.com/", None),
        ("ftp://voice.example", None),
        ("voice.example", None),
        ("null", None),
        ("", None),
        ("://", None),
        ("https://", None),
    ],
)
def test_all_others(origin: str, scheme: str | None) -> None:
    assert not is_allowed(origin, host="voice.example", scheme=scheme, allowed=ALLOWED)
    assert not is_allowed(origin, host="", scheme=scheme, allowed=ALLOWED)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://*.example.com",
        "example.com",
        "https://example.com/",
        "https://example.com/app",
        "https://u@example.com",
        "https://example.com:port",
        "https://example.com?x",
        "https://",
        "https://[::1",
        "null",
        "https://a.example b.example",
    ],
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin; write scheme://host"):
        parse_origins(f"https://good.example,{text}")


def test_a_default_port_goes_without_saying() -> None:
    assert normal("https://A:443") == "https://a"
    assert normal("http://a:443") == "http://a:443"
    assert parse_origins("") == frozenset()
