"""A subscriber, or a bus, that is cancelled while it waits leaves nothing behind."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.bus import Bus
from streams.connection import connect
from streams.line import Line


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
    channels = await redis.pubsub_shardchannels()
    assert b"warm" in channels
    assert b"gone" not in channels


async def test_a_line_that_ends_while_it_connects_closes_its_connection(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Its connection is there, and nobody knows of it yet."""

    async def connections() -> int:
        return len(await redis.client_list())

    before = await connections()
    client = connect(redis_server.url, waits=True, max_connections=1)
    line = Line(client, Bus(client), together=1)
    async with line._asking:  # who asks for a channel at this moment holds it up
        line.start()
        async with asyncio.timeout(5):
            while await connections() == before:  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.005)
        await line.stop()
    async with asyncio.timeout(5):
        while await connections() > before:  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)
    await client.aclose()
