"""What we make of what a Redis server says about itself."""

from __future__ import annotations

import pytest

from cli.redis_server import ServerFacts, without_password


@pytest.mark.parametrize(("version", "enough"), [("6.2.14", False), ("7.0.0", True), ("7.0.15", True), ("10.1", True)])
def test_7_0_is_the_least(version: str, enough: bool) -> None:
    """Compared as numbers, not as text."""
    assert ServerFacts("Redis", version, "noeviction").new_enough is enough


@pytest.mark.parametrize(
    ("policy", "keeps"), [("noeviction", True), ("allkeys-lru", False), ("volatile-ttl", False), ("", True)]
)
def test_only_noeviction_keeps_what_it_took(policy: str, keeps: bool) -> None:
    """A managed server may not tell; then it gets the benefit of the doubt."""
    assert ServerFacts("Redis", "7.2.0", policy).keeps_what_it_took is keeps


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://app:s3cret@cache.example:6380/2", "rediss://***@cache.example:6380/2"),
        ("redis://:p@ss@cache.example/0", "redis://***@cache.example/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """It ends up in terminals and tickets."""
    assert without_password(url) == shown
