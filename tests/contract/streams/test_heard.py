"""What a recording rests on in Redis: times by its clock, and nothing trimmed or deleted that is not recorded yet."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams import heard, pcm, turns
from streams.consumer import read
from streams.hub import open_hub
from streams.ids import EntryId
from streams.keys import new_sid
from streams.producer import Marked, Producer
from streams.sessions import Session, Sessions
from streams.trim import trim


async def born(redis: Redis, by: str | None = None) -> Session:
    session = (await Sessions(redis).create(turns.Opened("ann", "openai"), new_sid())).session
    if by is not None:
        await heard.open_heard(redis, session, by)
    return session


async def say(redis_url: str, session: Session, count: int = 3) -> None:
    async with open_hub(redis_url) as hub:
        producer = Producer(hub.writer, session.keys.pcm, Marked("w"))
        for _ in range(count):
            producer.append(pcm.Audio(bytes(48_000)))  # too long to be joined
            await producer.flush()


async def test_an_entry_says_when_it_came_only_where_it_may_be_recorded(redis_server: EmbeddedServer, redis: Redis) -> None:
    for by in (None, "", "token"):
        session = await born(redis, by)
        before = time.time_ns() // 1_000_000
        await say(redis_server.url, session, 1)
        entry = (await read(redis, session.keys.pcm, pcm.decoder))[-1]
        assert isinstance(entry.message, pcm.Audio)
        if by is None:
            assert entry.at_ms == 0
            page: Any = await redis.xrevrange(session.keys.pcm, count=1)
            assert b"at" not in page[0][1]
        else:
            assert before <= entry.at_ms <= time.time_ns() // 1_000_000
        await Sessions(redis).end(session, reason="stopped", linger_ms=0)
        assert not [key for key in session.keys.all if await redis.exists(key)]


async def test_what_is_not_recorded_yet_is_not_trimmed(redis_server: EmbeddedServer, redis: Redis) -> None:
    session = await born(redis, "token")
    await say(redis_server.url, session)
    ids = [entry.id for entry in await read(redis, session.keys.pcm, pcm.decoder)]
    await trim(redis, session.keys.pcm, ids[-2])
    assert [entry.id for entry in await read(redis, session.keys.pcm, pcm.decoder)] == ids
    await heard.keep_place(redis, session, {"pcm": str(ids[1]), "down": "0-0"}, "0-0")
    await trim(redis, session.keys.pcm, ids[-2])
    assert [entry.id for entry in await read(redis, session.keys.pcm, pcm.decoder)] == ids[2:]


async def test_the_last_words_wait_for_their_recording(redis_server: EmbeddedServer, redis: Redis) -> None:
    """And whoever still writes is told that it is over."""
    session = await born(redis, "token")
    await say(redis_server.url, session)
    await Sessions(redis).end(session, reason="stopped")
    assert not await redis.exists(session.keys.pcm)
    assert len(await read(redis, session.keys.last_pcm, pcm.decoder)) == 4
    assert await heard.say(redis, session, heard.Left("c"))
    assert 0 < await redis.pttl(session.keys.heard) <= 60_000
    await heard.keep_place(redis, session, {"pcm": "0-0", "down": "0-0"}, "0-0")
    assert 0 < await redis.pttl(session.keys.recorded) <= 60_000


async def test_it_is_switched_on_and_off_by_somebody(redis: Redis) -> None:
    session = await born(redis, "")
    assert await heard.switched(redis, session) == heard.Switched(on=False, by="")
    assert not await heard.say(redis, session, heard.Left("c")), "nobody wants to know yet"
    assert await heard.switch(redis, session, on=True, by="api")
    assert await heard.is_recorded(redis, session)
    assert await heard.switch(redis, session, on=False, by="api")
    assert await heard.switched(redis, session) == heard.Switched(on=False, by="api")
    entries = await read(redis, session.keys.heard, heard.decoder)
    assert [entry.message for entry in entries] == [
        heard.Switched(on=False, by=""), heard.Switched(on=True, by="api"), heard.Switched(on=False, by="api"),
    ]  # fmt: skip
    assert abs(entries[0].id.left - time.time_ns() // 1_000_000) < 60_000
    never = await born(redis)
    assert not await heard.switch(redis, never, on=True, by="api")
    assert await heard.switched(redis, never) is None
    assert not await heard.is_recorded(redis, never)


async def test_a_session_that_is_gone_does_not_come_back(redis: Redis) -> None:
    session = await born(redis, "token")
    await Sessions(redis).end(session, reason="forgotten", linger_ms=0)
    assert not await heard.say(redis, session, heard.Left("c"))
    assert not await heard.switch(redis, session, on=True, by="api")
    await heard.open_heard(redis, session, "token")
    await heard.keep_place(redis, session, {"pcm": str(EntryId(1, 1))}, "1-1")
    assert not [key for key in session.keys.all if await redis.exists(key)]
