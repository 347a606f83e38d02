"""A server that has lost the end of what it stored, as a restart or a failover leaves it: the writer gives it that again."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from streams import down, pcm, producer, up
from streams.bus import Bus
from streams.consumer import Consumer, Entry
from streams.errors import Wanted
from streams.ids import EntryId
from streams.messages import Text
from streams.producer import Chained, Marked, Numbered, Producer, open_left
from streams.sessions import Session
from streams.writer import Writer
from tests.contract.streams.entries import losing, raw, texts


async def ids(redis: Redis, stream: str) -> list[EntryId]:
    return [entry_id for entry_id, _ in await raw(redis, stream)]


async def test_a_marked_writer_says_it_again(redis: Redis, writer: Writer, session: Session) -> None:
    k = session.keys
    ours = Producer(writer, k.up, Marked("c"))
    await ours.append(Text("1"))
    async with losing(redis, k.up, k.marks):
        for text in ("2", "3"):
            await ours.append(Text(text))
    await ours.append(Text("4"))
    assert await texts(redis, k.up) == ["1", "2", "3", "4"]
    assert ours.lost_and_sent_again == 2


async def test_who_was_told_that_it_is_stored_is_not_told_again(redis: Redis, writer: Writer, session: Session) -> None:
    """And what he makes of it is no fault of what comes behind."""
    k, told = session.keys, list[int]()

    def hear(number: int, _: Exception | None) -> None:
        told.append(number)
        raise LookupError

    ours = Producer(writer, k.up, Marked("c"), told=hear)
    await ours.append(Text("1"))
    async with losing(redis, k.up, k.marks):
        await ours.append(Text("2"))
    await ours.append(Text("3"))
    await asyncio.wait_for(ours.flush(), 10)
    assert await texts(redis, k.up) == ["1", "2", "3"]
    assert told == [1, 2, 3]


async def test_a_numbered_writer_says_it_again_under_the_same_ids(redis: Redis, writer: Writer, session: Session) -> None:
    k = session.keys
    gen = await open_left(writer, k.up, up.GenOpened(source="pcm16"), 10**13)
    ours = Producer(writer, k.up, Numbered(gen))
    await ours.append(Text("1"))
    async with losing(redis, k.up, k.marks):
        for text in ("2", "3"):
            await ours.append(Text(text))
        stored = await ids(redis, k.up)
    ours.append(Text("4"))
    await ours.flush()
    assert await texts(redis, k.up) == ["1", "2", "3", "4"]
    assert (await ids(redis, k.up))[: len(stored)] == stored


async def test_a_reader_who_knows_it_already_hears_it_once(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    k = session.keys
    epoch = await open_left(writer, k.down, down.EpochTaken(owner="b"), 10**13)
    ours = Producer(writer, k.down, Chained(epoch))
    async with asyncio.timeout(5), Consumer(redis, bus, k.down, down.decoder, after=EntryId(epoch, 0)) as consumer:
        entries = aiter(consumer)
        async with losing(redis, k.down, k.marks):
            for code in ("1", "2"):
                await ours.append(down.Failed(code=code, message=""))
            assert [(await anext(entries)).id for _ in range(2)] == [EntryId(epoch, 1), EntryId(epoch, 2)]
        consumer.missed()
        await ours.append(down.Failed(code="3", message=""))
        assert (await anext(entries)).id == EntryId(epoch, 3)
    assert [entry for entry in await ids(redis, k.down) if entry.left == epoch] == [EntryId(epoch, n) for n in range(4)]


async def test_what_a_client_sends_again_elsewhere_is_heard_once(
    redis: Redis, writer: Writer, bus: Bus, session: Session
) -> None:
    """The server has lost what a reader has heard, and the client gives all of it at once to another gateway, with more."""
    k = session.keys
    gen = await open_left(writer, k.pcm, up.GenOpened(source="pcm16"), 10**13)
    frames = [bytes([number]) * 960 for number in range(1, 6)]
    ours = Producer(writer, k.pcm, Numbered(gen))
    await ours.append(pcm.Audio(frames[0]))
    async with asyncio.timeout(5), Consumer(redis, bus, k.pcm, pcm.decoder, after=EntryId(gen, 0)) as consumer:
        entries, heard = aiter(consumer), b""
        async with losing(redis, k.pcm, k.marks):
            for frame in frames[1:3]:
                await ours.append(pcm.Audio(frame))
            while len(heard) < 3 * 960:
                heard += audio_of(await anext(entries))
        consumer.missed()
        elsewhere = Producer(writer, k.pcm, Numbered(gen), first=2)
        for frame in frames[1:]:
            elsewhere.append(pcm.Audio(frame))
        await elsewhere.flush()
        while len(heard) < 5 * 960:
            heard += audio_of(await anext(entries))
    assert heard == b"".join(frames)


def audio_of(entry: Entry[pcm.PcmMessage]) -> bytes:
    assert isinstance(entry.message, pcm.Audio)
    return entry.message.audio


async def test_what_is_not_there_any_more_is_told(
    redis: Redis, writer: Writer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never spliced silently: the writer ends, and whoever has it announces the hole."""
    monkeypatch.setattr(producer, "RETAIN_BYTES", 0)
    k = session.keys
    ours = Producer(writer, k.up, Marked("c"))
    await ours.append(Text("1"))
    async with losing(redis, k.up, k.marks):
        await ours.append(Text("2"))
    with pytest.raises(Wanted):
        await ours.append(Text("3"))


async def test_an_epoch_that_was_lost_is_not_written_on(redis: Redis, writer: Writer, session: Session) -> None:
    k = session.keys
    async with losing(redis, k.down, k.marks):
        epoch = await open_left(writer, k.down, down.EpochTaken(owner="b"), 10**13)
        ours = Producer(writer, k.down, Chained(epoch))
        await ours.append(down.Failed(code="1", message=""))
    with pytest.raises(Wanted):
        await ours.append(down.Failed(code="2", message=""))


async def test_what_is_kept_is_bounded_in_bytes_and_in_time(
    writer: Writer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "RETAIN_IDLE_S", 0.05)
    monkeypatch.setattr(producer, "RETAIN_S", 0.0)
    ours = Producer(writer, session.keys.up, Marked("c"))
    await ours.append(up.File(data=bytes(producer.RETAIN_BYTES), arrived_ms=0))
    assert ours.retained_bytes == 0
    await ours.append(Text("1"))
    assert 0 < ours.retained_bytes < 100
    async with asyncio.timeout(5):
        while ours.retained_bytes:  # noqa: ASYNC110 - a timer: no event
            await asyncio.sleep(0.01)
