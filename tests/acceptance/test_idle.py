"""Idle sessions cost nothing but renewals, and ended ones leave nothing behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from realtime_bridge.turn_times import PLAYED_WITHIN_MS
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from streams import keys
from streams.connection import text
from tests.acceptance.conftest import simulator
from tests.acceptance.fleet import Fleet, fleet
from tests.acceptance.phone import Phone, calling
from tests.media.make_media import make_clip

GRACE_S = 2.0
PHONES = 10
IDLE_S = 12.0

RENEWALS = {"eval", "exists", "hexists", "pexpire", "get", "xclaim"}
"""Of the lease (one eval: compare, renew, is anybody there), the connection, the keys each minute, the work list."""
A_PROCESS = {"xreadgroup", "xpending", "zrange", "xinfo|groups", "xrange", "time"}
"""Not a session's: a worker waits for new ones, and looks once a second for orphans; a gateway looks how long they wait."""
OURS = {"info", "config|resetstat", "client|setinfo", "hello", "ping", "keys", "exists"}


@pytest.fixture(scope="module")
def ships() -> Iterator[Fleet]:
    with (
        EmbeddedServer() as redis,
        simulator(Options(speed=20.0, transcription_delay_s=0.0)) as base_url,
        fleet(redis.url, base_url, grace_s=GRACE_S) as ours,
    ):
        yield ours


def descriptors(ships: Fleet) -> dict[int, int]:
    """Open files and sockets of each process."""
    return {
        member.process.pid: len(list(Path(f"/proc/{member.process.pid}/fd").iterdir()))
        for member in ships.members
        if member.is_alive
    }


async def read_all(phone: Phone) -> None:
    """As a phone does that waits: only so pings are answered."""
    async for _ in phone.socket:
        pass


@pytest.mark.timeout(120)
async def test_idle_sessions_renew_and_nothing_else_and_then_are_gone(ships: Fleet) -> None:
    """Ten phones that have spoken and fallen silent; then they leave."""
    redis = Redis.from_url(ships.redis_url)
    clip = make_clip(samples=22_050).data
    gateways = [member.url for member in ships.of("gateway")]
    async with AsyncExitStack() as stack:  # pools keep what they have opened: let them open it
        phones = [await stack.enter_async_context(calling(gateways[n % 2], f"warm-{n}")) for n in range(2 * PHONES)]
        await asyncio.gather(*(phone.ask(clip) for phone in phones))
    before = await settled(redis, ships)
    async with AsyncExitStack() as stack:
        phones = [await stack.enter_async_context(calling(gateways[n % 2], f"idle-{n}")) for n in range(PHONES)]
        await asyncio.gather(*(phone.ask(clip) for phone in phones))
        readers = [asyncio.create_task(read_all(phone)) for phone in phones]
        await quiet(redis)
        began = time.monotonic()
        await redis.config_resetstat()
        await asyncio.sleep(IDLE_S)
        stats = await redis.info("commandstats")
        idle_s = time.monotonic() - began
        counts = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
        assert set(counts) <= RENEWALS | A_PROCESS | OURS, counts
        leases, attaches = idle_s / 1.3, idle_s / 3.0
        assert counts["eval"] <= PHONES * (leases + attaches + 3), counts
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    await gone(redis)
    assert await redis.xlen("parley:dispatch:bridge") == await redis.xlen("parley:dispatch:transcoder") == 0
    async with asyncio.timeout(20):
        # A pool of Redis connections may have grown by a few; what a session leaves behind would be one each.
        while any(count >= before[pid] + PHONES // 2 for pid, count in descriptors(ships).items()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await redis.aclose()


async def settled(redis: Redis, ships: Fleet) -> dict[int, int]:
    """What is open when no session is left, and what was open for them has been closed."""
    async with asyncio.timeout(GRACE_S + 20):
        while await redis.zcard(keys.SESSIONS):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)
        before: dict[int, int] = {}
        while (now := descriptors(ships)) != before:
            before = now
            await asyncio.sleep(0.5)
    return before


async def quiet(redis: Redis) -> None:
    """Wait until nothing has been appended for a while, nor will be: how long a turn took is noted last."""
    async with asyncio.timeout(20):
        while True:
            await redis.config_resetstat()
            await asyncio.sleep(PLAYED_WITHIN_MS / 1000 + 0.6)
            if "cmdstat_xadd" not in await redis.info("commandstats"):
                return


async def gone(redis: Redis) -> None:
    """Wait until no key of any session is left, and no name; but for what is kept of it and what its user has
    used today, which run out by themselves."""
    async with asyncio.timeout(GRACE_S + 20):
        while any(not is_kept(text(key)) for key in await redis.keys("parley:*")):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    kept = [key for key in await redis.keys("parley:*") if not text(key).startswith("parley:dispatch:")]
    assert all([await redis.ttl(key) > 0 for key in kept])


def is_kept(key: str) -> bool:
    return key.startswith(("parley:dispatch:", "parley:of:", "parley:usage:")) or key.endswith(":kept")
