"""REDIS_URL in its three forms."""

from __future__ import annotations

import pytest

from streams.addresses import Cluster, Sentinels, parse_url


@pytest.mark.parametrize("url", ["redis://host:6379/0", "rediss://:secret@host", "unix:///run/redis.sock"])
def test_one_server_is_read_by_redis_py(url: str) -> None:
    assert parse_url(url) is None


def test_sentinels() -> None:
    assert parse_url("redis+sentinel://a:1,b/mymaster") == Sentinels((("a", 1), ("b", 26379)), "mymaster")
    url = "rediss+sentinel://me:p%40ss@[::1]:1/mymaster/3?sentinel_username=s&sentinel_password=t"
    assert parse_url(url) == Sentinels((("::1", 1),), "mymaster", 3, "me", "p@ss", "s", "t", tls=True)


def test_a_cluster() -> None:
    assert parse_url("redis+cluster://a:1,b") == Cluster((("a", 1), ("b", 6379)))
    assert parse_url("rediss+cluster://:p@a/0") == Cluster((("a", 6379),), None, "p", tls=True)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:1",
        "redis+sentinel://a:1/mymaster/x",
        "redis+sentinel://a:1/mymaster/0/x",
        "redis+cluster://a:1/1",
        "redis+cluster://",
        "redis+cluster://a,,b",
        "redis+cluster://a:port",
        "redis+ring://a:1",
        "http+cluster://a:1",
    ],
)
def test_what_does_not_read_is_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_url(url)
