"""Readers: every entry once and in order, whatever the bus loses or repeats."""

from __future__ import annotations

import asyncio
import time

import msgpack
import pytest
from redis.asyncio import Redis

from streams import up
from streams.bus import Bus
from streams.consumer import MAX_HEARD, PAGE, Consumer, read
from streams.errors import Over
from streams.ids import ZERO, EntryId
from streams.messages import Text
from streams.producer import Marked, Producer
from streams.sessions import Session, Sessions
from streams.trim import trim
from streams.writer import INLINE_BYTES, Writer


async def texts(consumer: Consumer[up.UpMessage], count: int) -> list[str]:
    """The next `count` texts."""
    found: list[str] = []
    async with asyncio.timeout(10):
        async for entry in consumer:
            if isinstance(entry.message, Text):
                found.append(entry.message.text)
                if len(found) == count:
                    break
    return found


async def has_caught_up(consumer: Consumer[up.UpMessage]) -> None:
    """It has read all that was there, and waits."""
    async with asyncio.timeout(10):
        while not consumer._has_caught_up:  # noqa: ASYNC110 - its own affair: no event
            await asyncio.sleep(0.005)


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


async def test_what_was_there_and_what_comes_is_one_sequence(
    redis: Redis, writer: Writer, bus: Bus, session: Session
) -> None:
    """Entries from before the subscription and live ones, each once."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    for n in range(1, 51):
        producer.append(Text(str(n)))
    await producer.flush()
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        reading = asyncio.create_task(texts(consumer, 100))
        for n in range(51, 101):
            producer.append(Text(str(n)))
            await asyncio.sleep(0)
        assert await reading == numbers(1, 100)


async def test_more_than_a_page_is_read_whole(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """A long history comes in pages, without a seam."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    for n in range(1, 2 * PAGE + 20):
        producer.append(Text(str(n)))
    await producer.flush()
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        assert await texts(consumer, 2 * PAGE + 19) == numbers(1, 2 * PAGE + 19)


async def test_lost_and_repeated_messages_change_nothing(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """Published by hand: a message heard twice, one that never comes, and a ring without body."""
    k = session.keys
    async with Consumer(redis, bus, k.up, up.decoder) as consumer:
        reading = asyncio.create_task(texts(consumer, 5))
        producer = Producer(writer, k.up, Marked("c"))
        first = await producer.append(Text("1"))
        again = msgpack.packb([bytes(first), bytes(ZERO), [b"kind", b"text", b"text", b"not the truth"]])
        await redis.spublish(k.up, again)
        # One that is stored without a word (as when the bus was away), then one whose `prev` tells of it.
        await redis.execute_command("XADD", k.up, str(EntryId(first.left, first.right + 1)), "kind", "text", "text", "2")
        await redis.hdel(k.marks, "up")
        await producer.append(Text("3"))
        await producer.append(Text("x" * (INLINE_BYTES + 1)))
        await producer.append(Text("5"))
        found = await reading
    assert [text[:3] for text in found] == ["1", "2", "3", "xxx", "5"]


async def test_a_slow_reader_keeps_a_bounded_number_of_messages(
    redis: Redis, writer: Writer, bus: Bus, session: Session
) -> None:
    """What is too much to keep is read from the stream later."""
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        producer = Producer(writer, session.keys.up, Marked("c"))
        await producer.append(Text("1"))
        assert await texts(consumer, 1) == ["1"]
        for n in range(2, MAX_HEARD + 50):
            producer.append(Text(str(n)))
        await producer.flush()
        await producer.append(Text("last"))
        assert len(consumer._heard) <= MAX_HEARD
        assert await texts(consumer, MAX_HEARD + 49) == [*numbers(2, MAX_HEARD + 49), "last"]


async def test_a_bus_that_reconnects_loses_nothing(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """Its connection is cut again and again while entries are written."""
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        reading = asyncio.create_task(texts(consumer, 60))
        producer = Producer(writer, session.keys.up, Marked("c"))
        for n in range(1, 61):
            await producer.append(Text(str(n)))
            if n % 15 == 0:
                await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await reading == numbers(1, 60)


async def test_two_readers_hear_the_same(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """One leaves; the other still hears."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    async with Consumer(redis, bus, session.keys.up, up.decoder) as stays:
        async with Consumer(redis, bus, session.keys.up, up.decoder) as leaves:
            await producer.append(Text("1"))
            assert await texts(stays, 1) == await texts(leaves, 1) == ["1"]
        await producer.append(Text("2"))
        assert await texts(stays, 1) == ["2"]


async def test_an_ended_session_is_over_for_its_reader(redis: Redis, bus: Bus, session: Session) -> None:
    """A reader that comes to a stream that is gone is told so."""
    await Sessions(redis).end(session, linger_ms=0)
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        with pytest.raises(Over):
            await texts(consumer, 1)


async def test_the_last_words_can_be_read_after_the_end(redis: Redis, bus: Bus, session: Session) -> None:
    """`down` stays a while, `up` is closed at once."""
    await Sessions(redis).end(session)
    assert await redis.exists(session.keys.down)
    assert not await redis.exists(session.keys.up)
    assert 0 < await redis.pttl(session.keys.down) <= 10_000


async def test_an_entry_that_does_not_read_is_passed_over(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """One bad entry must not end the session of whoever wrote the others."""
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        for fields in ({"kind": "from the future"}, {"no": "kind"}, {"kind": "file", "data": "x", "arrived_ms": "soon"}):
            await redis.xadd(session.keys.up, fields)  # type: ignore[arg-type]
        await redis.hdel(session.keys.marks, "up")
        await Producer(writer, session.keys.up, Marked("c")).append(Text("good"))
        assert await texts(consumer, 1) == ["good"]


async def test_an_idle_reader_asks_redis_nothing(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """Between entries there is no command at all."""
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        await Producer(writer, session.keys.up, Marked("c")).append(Text("1"))
        assert await texts(consumer, 1) == ["1"]
        reading = asyncio.create_task(texts(consumer, 1))
        await has_caught_up(consumer)
        await redis.config_resetstat()
        await asyncio.sleep(0.15)
        stats = await redis.info("commandstats")
        assert set(stats) <= {"cmdstat_config|resetstat", "cmdstat_info", "cmdstat_ping"}  # the bus's, every 3 s
        reading.cancel()
        await asyncio.wait([reading])


async def test_a_trim_never_takes_the_last_entry(redis: Redis, writer: Writer, session: Session) -> None:
    """Its id is the fence."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    ids = [await producer.append(message) for message in (Text("1"), Text("2"), Text("3"))]
    await trim(redis, session.keys.up, ids[0])
    assert await redis.xlen(session.keys.up) == 2
    await trim(redis, session.keys.up, EntryId(ids[2].left + 5, 0))
    assert await redis.xlen(session.keys.up) == 1
    assert (await producer.append(Text("4"))) > ids[2]


async def test_a_trim_may_spare_some_of_what_has_been_dealt_with(redis: Redis, writer: Writer, session: Session) -> None:
    producer = Producer(writer, session.keys.up, Marked("c"))
    ids = [await producer.append(Text(str(number))) for number in range(5)]
    await trim(redis, session.keys.up, ids[3], but=2)
    assert [entry.id for entry in await read(redis, session.keys.up, up.decoder)] == ids[2:]
    await trim(redis, session.keys.up, ids[3], but=9)
    assert await redis.xlen(session.keys.up) == 3


async def test_reading_once_passes_over_what_does_not_read_too(redis: Redis, session: Session) -> None:
    """A takeover reads all that was said: one entry of a newer Parley must not make it impossible."""
    for fields in ({"kind": "from the future"}, {"kind": "text", "text": "good"}):
        await redis.xadd(session.keys.up, fields)  # type: ignore[arg-type]
    assert [entry.message for entry in await read(redis, session.keys.up, up.decoder)][1:] == [Text("good")]


async def test_a_reader_is_told_how_long_what_comes_has_waited(
    redis: Redis, writer: Writer, bus: Bus, session: Session
) -> None:
    """Not of what was there before it: that has waited for a reader."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    await producer.append(Text("1"))
    before_us = time.time_ns() // 1000
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        waits: list[float] = []
        consumer.on_wait = waits.append
        assert await texts(consumer, 1) == ["1"]
        reading = asyncio.create_task(texts(consumer, 1))
        await has_caught_up(consumer)
        await producer.append(Text("2"))
        assert await reading == ["2"]
        assert before_us <= consumer.since_us <= time.time_ns() // 1000
        assert len(waits) == 1
        assert 0.0 <= waits[0] <= (time.time_ns() // 1000 - before_us) / 1_000_000


async def test_what_was_made_of_something_says_when_that_was_said(
    redis: Redis, writer: Writer, bus: Bus, session: Session
) -> None:
    """And what an older Parley has stored does not say when it was."""
    async with Consumer(redis, bus, session.keys.up, up.decoder) as consumer:
        await Producer(writer, session.keys.up, Marked("c")).append(Text("1"), since_us=1_234)
        assert await texts(consumer, 1) == ["1"]
        assert consumer.since_us == 1_234
        await redis.xadd(session.keys.up, {"kind": "text", "text": "1", "role": '"user"', "respond": "1"})
        consumer.missed()
        assert await texts(consumer, 1) == ["1"]
        assert consumer.since_us == 0
