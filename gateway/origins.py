"""PURE. Which web pages may talk to us: our own, and those on the list.

A browser sends the page's origin with every WebSocket and with every fetch that could do harm; a native app mostly sends
none. Nothing here protects from who is no browser: that is what tokens are for.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origins(text: str) -> frozenset[str]:
    """Of `scheme://host[:port]`, with commas between. Raises ValueError, a sentence."""
    return frozenset(_checked(named) for named in filter(None, (part.strip() for part in text.split(","))))


def is_allowed(origin: str, *, host: str, scheme: str | None, allowed: frozenset[str]) -> bool:
    """`host`: the one that the client has asked for; `scheme`: the one that it used, if that is known for sure."""
    return normal(origin) in allowed or _is_same(origin, host, scheme)


def normal(origin: str) -> str:
    """As browsers write it: in small letters, without a port that goes without saying."""
    origin = origin.lower()
    port = _DEFAULT_PORTS.get(origin.partition(":")[0])
    return origin if port is None else origin.removesuffix(f":{port}")


def _is_same(origin: str, host: str, scheme: str | None) -> bool:
    its, _, netloc = normal(origin).partition("://")
    if its not in _DEFAULT_PORTS or not netloc or (scheme is not None and its != scheme):
        return False
    return netloc == normal(f"{its}://{host}").partition("://")[2]


def _checked(named: str) -> str:
    try:
        url = urlsplit(named)
        complete = bool(url.scheme and url.hostname) and url.port != 0
    except ValueError:
        complete = False
    if not complete or any(c in named for c in "*@ ") or url.path or url.query or url.fragment:
        raise ValueError(f"{named} is no origin; write scheme://host or scheme://host:port, as in https://app.example.com")
    return normal(named)
