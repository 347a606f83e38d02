"""A subscriber that is cancelled while it waits leaves nothing behind."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from streams.bus import Bus


class Deaf:
    def heard(self, data: bytes) -> None: ...
    def missed(self) -> None: ...


async def test_a_cancelled_subscription_is_taken_back(redis: Redis, bus: Bus) -> None:
    await bus.subscribe("warm", Deaf())
    task = asyncio.create_task(bus.subscribe("gone", Deaf()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.2)
    assert b"gone" not in await redis.pubsub_channels()
