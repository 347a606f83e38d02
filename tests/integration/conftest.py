"""A hub on a real server, for tests of whole services in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.hub import Hub, open_hub


@pytest.fixture
async def hub(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Hub]:
    """Of an empty server."""
    async with open_hub(redis_server.url) as hub:
        yield hub
