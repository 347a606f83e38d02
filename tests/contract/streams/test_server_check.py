"""Which servers are fit: who may evict keys is not, who does not tell is believed, with a warning."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.connection import check_server
from streams.errors import ServerUnfit


class Reticent(Redis):
    """Tells a part of itself, as some managed ones do."""

    async def info(self, section: str | None = None, *sections: str, **more: Any) -> Any:
        told = await super().info(section, *sections, **more)
        return {name: value for name, value in told.items() if name != "maxmemory_policy"}


async def test_a_server_that_does_not_tell_is_taken_with_a_warning(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Once, which says where to look."""
    server = Reticent(connection_pool=redis.connection_pool)
    with caplog.at_level(logging.WARNING):
        assert await check_server(server)
    (record,) = caplog.records
    assert "its provider's settings that it is noeviction" in record.getMessage()


async def test_a_server_that_may_evict_is_refused(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ServerUnfit, match="allkeys-lru"):
            await check_server(redis)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert await check_server(redis)
    assert not caplog.records
