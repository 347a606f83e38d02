"""Redis was restarted: it answers again, and so must everybody's idle connections."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.hub import open_hub


async def test_idle_connections_that_the_server_has_closed_fail_nobody(redis: Redis, redis_server: EmbeddedServer) -> None:
    async with open_hub(redis_server.url) as hub:
        await asyncio.gather(*(hub.redis.ping() for _ in range(5)))  # five idle connections in the pool
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.5)
        answers = await asyncio.gather(*(hub.redis.ping() for _ in range(5)), return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers


async def test_nobody_waits_for_the_bus_to_come_back(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Not before it is back, when the pool still has what the server has closed, and not while it comes back."""
    async with open_hub(redis_server.url) as hub:
        await asyncio.gather(*(hub.redis.ping() for _ in range(5)))
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.01)
        for _ in range(100):
            await asyncio.gather(*(hub.redis.ping() for _ in range(2)))
            await asyncio.sleep(0.002)
