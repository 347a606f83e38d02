"""PURE. REDIS_URL: one server, a primary that Sentinels know, or a Cluster.

    redis://host:6379/0                             one server; rediss:// with TLS; unix:///path/to/socket
    redis+sentinel://host:26379,host:26379/service[/db]
        ?sentinel_username=…&sentinel_password=…    of the Sentinels themselves
    redis+cluster://host:6379,host:6379             any of its nodes; one that answers is enough

`user:password@` before the hosts and `rediss+…` for TLS mean the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

SENTINEL_PORT = 26379
PORT = 6379


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who is asked for the primary of a service."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    username: str | None = None
    password: str | None = None
    """of the primary"""
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """Some of its nodes."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = None
    tls: bool = False


def parse_url(url: str) -> Sentinels | Cluster | None:
    """None for one server, whose URL redis-py reads itself. Raises ValueError, with a sentence."""
    parts = urlsplit(url)
    secure, plus, kind = parts.scheme.partition("+")
    if not plus:
        return None
    if secure not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise ValueError(f"{parts.scheme}:// is none of redis+sentinel://, redis+cluster://")
    credentials, _, hosts_text = parts.netloc.rpartition("@")
    name, _, secret = credentials.partition(":")
    username, password = unquote(name) or None, unquote(secret) or None
    hosts = tuple(_host(text, SENTINEL_PORT if kind == "sentinel" else PORT) for text in hosts_text.split(","))
    path = [unquote(part) for part in parts.path.split("/") if part]
    tls = secure == "rediss"
    if kind == "cluster":
        if path not in ([], ["0"]):
            raise ValueError("a Cluster has one database only: redis+cluster://host:6379,host:6379")
        return Cluster(hosts, username, password, tls)
    if not 1 <= len(path) <= 2 or (len(path) == 2 and not path[1].isdigit()):
        raise ValueError("it must name the service: redis+sentinel://host:26379,host:26379/mymaster")
    asked = dict(parse_qsl(parts.query))
    return Sentinels(
        hosts,
        path[0],
        int(path[1]) if len(path) == 2 else 0,
        username,
        password,
        asked.get("sentinel_username"),
        asked.get("sentinel_password"),
        tls,
    )


def _host(text: str, otherwise: int) -> tuple[str, int]:
    host, port = urlsplit(f"//{text}").hostname, urlsplit(f"//{text}").port
    if not host:
        raise ValueError("a host is missing")
    return host, port or otherwise
