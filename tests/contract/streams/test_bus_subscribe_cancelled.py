"""A subscriber, or a bus, that is cancelled while it waits leaves nothing behind."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.bus import Bus
from streams.connection import connect


class Deaf:
    def heard(self, data: bytes) -> None: ...
    def missed(self) -> None: ...


async def test_a_cancelled_subscription_is_taken_back(redis: Redis, bus: Bus) -> None:
    await bus.subscribe("warm", Deaf())
    task = asyncio.create_task(bus.subscribe("gone", Deaf()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await bus.subscribe("behind", Deaf())  # commands are dealt with in order: what was taken back before is by now
    assert b"gone" not in await redis.pubsub_channels()


async def test_a_bus_that_ends_while_it_connects_closes_its_connection(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Its connection is there, and nobody knows of it yet."""

    async def connections() -> int:
        return len(await redis.client_list())

    before = await connections()
    client = connect(redis_server.url, waits=True, max_connections=1)
    bus = Bus(client)
    async with bus._asking, bus:  # who asks for a channel at this moment holds it up
        async with asyncio.timeout(5):
            while await connections() == before:  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        while await connections() > before:  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)
    await client.aclose()
