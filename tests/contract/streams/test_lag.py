"""How far the workers are behind is known, also when none is there, or Redis's own lag is nil."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.behind import look
from gateway.metrics import Metrics
from runtime.embedded import EmbeddedServer
from streams import keys, turns
from streams.dispatch import ORPHAN_MS, Assignments, hand_out
from streams.hub import Hub, open_hub
from streams.lag import LATE_MS, Lag, lag
from streams.sessions import Sessions
from tests.contract.streams.entries import silent


@pytest.fixture
async def hub(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Hub]:
    async with open_hub(redis_server.url) as hub:
        yield hub


async def handed_out(hub: Hub, count: int) -> None:
    for number in range(count):
        creation = await Sessions(hub.redis).create(turns.Opened(user=f"u{number}", door="d"), "c")
        await hand_out(hub.redis, creation.session, "transcoder")


async def test_without_anything_nobody_waits(hub: Hub) -> None:
    assert await lag(hub.redis, "transcoder") == Lag(0, 0, 0)


async def test_sessions_wait_for_the_first_worker(hub: Hub) -> None:
    """There is not even a group yet."""
    await handed_out(hub, 3)
    await asyncio.sleep(0.05)
    before = await lag(hub.redis, "transcoder")
    assert (before.waiting, before.served) == (3, 0)
    assert before.waiting_ms >= 50
    assert (await lag(hub.redis, "bridge")).waiting == 0


async def test_what_a_worker_has_does_not_wait_until_it_is_left_behind(hub: Hub) -> None:
    worker = Assignments(hub, "transcoder", "one")
    await worker.open()
    await handed_out(hub, 3)
    taken = await worker.take(2)
    there = await lag(hub.redis, "transcoder")
    assert (there.waiting, there.served) == (1, 2)
    left_ms = ORPHAN_MS["transcoder"] + LATE_MS + 1
    await silent(hub.redis, "transcoder", "one", taken, left_ms)
    await worker.keep(taken[:1])
    there = await lag(hub.redis, "transcoder")
    assert (there.waiting, there.served) == (2, 1)
    assert there.waiting_ms >= left_ms


async def test_who_gives_up_waiting_does_not_hide_the_others(hub: Hub) -> None:
    """As Redis's own lag does."""
    worker = Assignments(hub, "transcoder", "one")
    await worker.open()
    await handed_out(hub, 3)
    stream = keys.dispatch("transcoder")
    entries: Any = await hub.redis.xrange(stream)
    await hub.redis.xdel(stream, entries[1][0])
    (group,) = await hub.redis.xinfo_groups(stream)
    assert group["lag"] is None
    assert (await lag(hub.redis, "transcoder")).waiting == 2


async def test_a_gateway_counts_it(hub: Hub) -> None:
    await handed_out(hub, 2)
    await asyncio.sleep(0.02)
    metrics = Metrics()
    await look(hub.redis, metrics)

    def value(name: str, role: str) -> float | None:
        return metrics.registry.get_sample_value(f"parley_gateway_workers_{name}", {"role": role})

    assert value("waiting", "transcoder") == 2
    assert value("waiting", "bridge") == 0
    assert value("serving", "transcoder") == 0
    assert (value("waiting_seconds", "transcoder") or 0) >= 0.02
