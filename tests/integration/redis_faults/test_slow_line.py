"""Redis is far away: 200 ms from a question to its answer, packets are lost, connections break."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random

import pytest
from redis.asyncio import Redis

from cli.load.far import Line
from runtime.embedded import EmbeddedServer
from tests.contract.doors.openai_stage import system
from tests.integration.redis_faults.talk import LIVE, arrived, talk

CUTS = int(os.environ.get("REDIS_CUTS", "4"))
"""How often all connections to Redis break. `REDIS_CUTS=100` for a longer look."""


@pytest.fixture
async def line(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Line]:
    async with Line(redis_server.url, delay_s=0.0).open() as line:
        yield line


async def test_a_long_line_that_loses_packets_costs_time_only(line: Line) -> None:
    async def grows_long() -> None:
        line.delay_s, line.loss = 0.1, 0.05
        await asyncio.sleep(4.0)

    async with system(line, LIVE) as parley:
        talks = await talk(parley, grows_long)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks)
        line.delay_s = line.loss = 0.0
    for each in talks:
        assert each.client.audio == each.frames
        assert (each.redials, each.announced) == (0, 0)


@pytest.mark.timeout(60 + 2 * CUTS)
async def test_connections_to_redis_that_break_lose_nothing(line: Line) -> None:
    """With everything under way on them: whether it was stored nobody knows, and it is there once."""
    random = Random(2)
    line.delay_s, line.loss = 0.01, 0.0

    async def breaks() -> None:
        for _ in range(CUTS):
            line.cut()
            await asyncio.sleep(random.uniform(0.05, 0.7))

    async with system(line, LIVE) as parley:
        talks = await talk(parley, breaks)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks)
    for each in talks:
        assert each.client.audio == each.frames
        assert (each.redials, each.announced) == (0, 0)
