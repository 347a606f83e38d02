"""Redis has no memory left: new sessions are sent away in time, live ones are told, and all goes on when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from simulator.answers import tone
from simulator.options import Options
from streams import producer
from streams.connection import connect
from streams.memory import Memory
from tests.contract.doors.openai_stage import NumberedClient, Object, System, coded_frame, system
from tests.integration.redis_faults.talk import LIVE, talk

LIMIT_S = 45.0

LIMIT_BYTES = 64 << 20


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer("--maxmemory", str(LIMIT_BYTES)) as server:
        yield server


@pytest.fixture
async def redis(server: EmbeddedServer) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()


async def fill(redis: Redis, part: float) -> None:
    """Until so much of it is used."""
    number = 0
    while (await redis.info("memory"))["used_memory"] < LIMIT_BYTES * part:
        await redis.hset("filling", str(number), bytes(500_000))
        number += 1


async def until_refused(parley: System) -> aiohttp.WSServerHandshakeError:
    """It is looked at once a second."""
    while True:
        try:
            async with parley.talker():
                await asyncio.sleep(0.1)
        except aiohttp.WSServerHandshakeError as refused:
            return refused


async def test_above_the_mark_new_sessions_are_sent_away_and_others_go_on(server: EmbeddedServer, redis: Redis) -> None:
    """Who comes back needs no room; and when there is room again, new ones come in."""
    async with asyncio.timeout(LIMIT_S), system(server, LIVE) as parley:
        client = NumberedClient(parley)
        await client.connect(0)
        await client.append(coded_frame(0))
        await fill(redis, 0.9)
        refused = await until_refused(parley)
        assert refused.status == 503
        assert refused.headers is not None
        assert 5 <= int(refused.headers["Retry-After"]) <= 15
        async with parley.http.post(f"{parley.urls[0]}/api/sessions", json={}) as answer:
            assert answer.status == 503
        async with parley.http.get(f"{parley.urls[0]}/readyz") as answer:
            assert answer.status == 200, "this gateway serves whoever comes back"
        await client.append(coded_frame(1))
        await client.cut()
        await client.connect(0)
        await client.append(coded_frame(2))
        await client.until(lambda: client.audio == b"".join(map(coded_frame, range(3))))
        await redis.delete("filling")
        while True:
            try:
                async with parley.talker() as talker:
                    assert (await talker.hear())["type"] == "session.created"
                    break
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(0.1)
        await client.close()


async def test_a_short_shortage_costs_a_pause(server: EmbeddedServer, redis: Redis) -> None:
    """What cannot be stored waits; nobody dials again, nothing is lost or doubled."""

    async def shortage() -> None:
        await redis.config_set("maxmemory", "1")
        await asyncio.sleep(1.5)
        await redis.config_set("maxmemory", LIMIT_BYTES)

    async with system(server, LIVE) as parley:
        talks = await talk(parley, shortage)
    assert [(each.lost, each.doubled, each.redials) for each in talks] == [(0, 0, 0)] * 2


async def test_a_long_shortage_ends_live_sessions_with_a_reason(
    server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told, what they hold is freed, and whoever comes when there is room is served: nobody had to do anything."""
    monkeypatch.setattr(producer, "FULL_GIVE_UP_AFTER_S", (1.0, 1.5))
    options = Options(speed=1, answer=tone(440, 20))
    async with asyncio.timeout(LIMIT_S), system(server, options) as parley:
        async with parley.talker() as talker:
            session = (await talker.hear())["session"]["id"].removeprefix("sess_")
            await talker.say("response.create")
            await talker.until("response.output_audio.delta")
            await redis.config_set("maxmemory", "1")  # in the middle of an answer
            events: list[Object] = []
            while not (events and events[-1]["type"] == "error"):
                events.append(await talker.hear())
            assert events[-1]["error"]["code"] == "no_room"
            assert await talker.hear_close() == 1011
        async with asyncio.timeout(LIMIT_S):  # the client is told first
            while await redis.exists(f"parley:{{{session}}}:pcm", f"parley:{{{session}}}:lease"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await redis.config_set("maxmemory", LIMIT_BYTES)
        async with parley.talker() as talker:
            await talker.hear()
            await talker.say("response.create")
            await talker.until("response.output_audio.delta")


async def test_a_server_without_a_limit_is_never_full(redis: Redis) -> None:
    await redis.config_set("maxmemory", 0)
    assert await Memory(redis).fullness() == 0.0
