"""The one script that appends: what is refused is never heard, what is stored is never silent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from streams import down, pcm, turns, up
from streams.errors import Fenced, Over, Replaced, Wanted
from streams.ids import SEQ_STRIDE, EntryId, piece
from streams.messages import Commit, Text
from streams.producer import Assigned, Chained, Marked, Numbered, Producer, open_left
from streams.sessions import Session, Sessions
from streams.writer import INLINE_BYTES, Writer
from tests.contract.streams.entries import hearing, raw, texts


async def ids(redis: Redis, stream: str) -> list[EntryId]:
    return [entry_id for entry_id, _ in await raw(redis, stream)]


async def kinds(redis: Redis, stream: str) -> list[bytes]:
    return [fields[b"kind"] for _, fields in await raw(redis, stream)]


class Ear:
    """Hears a channel through a connection of its own and keeps what it heard."""

    def __init__(self, pubsub: PubSub, redis: Redis, channel: str) -> None:
        self._pubsub, self._redis, self._channel = pubsub, redis, channel

    async def all(self) -> list[Any]:
        """Up to a last word of our own: what was published before comes before it."""
        await self._redis.spublish(self._channel, b"last")
        heard = list[Any]()
        async with asyncio.timeout(10):
            while True:
                message = await self._pubsub.get_message(timeout=10)
                if message is not None and message["data"] == b"last":
                    return heard
                if message is not None:
                    heard.append(msgpack.unpackb(message["data"], raw=True))


async def test_what_is_stored_is_heard_with_the_id_before_it(redis: Redis, writer: Writer, session: Session) -> None:
    """A message carries the new id, the id before it, and the entry."""
    async with hearing(redis, session.keys.up) as pubsub:
        ear = Ear(pubsub, redis, session.keys.up)
        producer = Producer(writer, session.keys.up, Marked("c1"))
        first = await producer.append(Text("hello"))
        second = await producer.append(Commit())
        heard = await ear.all()
    born, *_ = await ids(redis, session.keys.up)
    assert [message[:2] for message in heard] == [[bytes(first), bytes(born)], [bytes(second), bytes(first)]]
    *body, stamped, at_us = heard[0][2]
    assert body == [b"kind", b"text", b"text", b"hello", b"role", b'"user"', b"respond", b"1"]
    assert stamped == b"at_us"
    assert abs(time.time() - int(at_us) / 1_000_000) < 60


async def test_a_large_entry_rings_without_its_body(redis: Redis, writer: Writer, session: Session) -> None:
    """Past the inline size only the ids travel."""
    async with hearing(redis, session.keys.up) as pubsub:
        ear = Ear(pubsub, redis, session.keys.up)
        producer = Producer(writer, session.keys.up, Marked("c1"))
        await producer.append(up.File(data=bytes(INLINE_BYTES + 1), arrived_ms=0))
        heard = await ear.all()
    assert len(heard) == 1
    assert len(heard[0]) == 2


async def test_nothing_refused_is_heard(redis: Redis, writer: Writer, session: Session) -> None:
    """A fenced bridge's word neither stands in the stream nor reaches a listener."""
    old = await open_left(writer, session.keys.down, down.EpochTaken(owner="old"), 1000)
    zombie = Producer(writer, session.keys.down, Chained(old))
    await zombie.append(down.Failed(code="a", message="in time"))
    await open_left(writer, session.keys.down, down.EpochTaken(owner="new"), 1000)
    async with hearing(redis, session.keys.down) as pubsub:
        ear = Ear(pubsub, redis, session.keys.down)
        with pytest.raises(Fenced) as caught:
            await zombie.append(down.Failed(code="b", message="too late"))
        assert await ear.all() == []
    assert caught.value.last == (await ids(redis, session.keys.down))[-1]
    assert (await kinds(redis, session.keys.down)).count(b"failed") == 1


async def test_a_zombie_stays_fenced_after_a_trim(redis: Redis, writer: Writer, session: Session) -> None:
    """The fence is the stream's last id, which a trim does not lower."""
    old = await open_left(writer, session.keys.down, down.EpochTaken(owner="old"), 1000)
    await open_left(writer, session.keys.down, down.EpochTaken(owner="new"), 1000)
    await redis.xtrim(session.keys.down, maxlen=0)
    await redis.delete(session.keys.marks)
    with pytest.raises((Fenced, Over)):
        await Producer(writer, session.keys.down, Chained(old)).append(down.Ended(reason="late"))


async def test_a_write_to_an_ended_session_is_over(redis: Redis, writer: Writer, session: Session) -> None:
    """No stream comes back to life by a late write."""
    await Sessions(redis).end(session, linger_ms=0)
    with pytest.raises(Over):
        await Producer(writer, session.keys.up, Marked("c1")).append(Text("late"))
    assert await redis.keys("*") == []


@pytest.mark.parametrize("lost", ["streams", "marks"])
async def test_a_write_after_expiry_brings_nothing_back(redis: Redis, writer: Writer, session: Session, lost: str) -> None:
    """Whichever key expired first, a stream that is gone stays gone."""
    streams, marks = list(session.keys.streams), [session.keys.marks]
    first, second = (streams, marks) if lost == "streams" else (marks, streams)
    producer = Producer(writer, session.keys.up, Marked("c1"))
    await producer.append(Text("in time"))
    await redis.delete(*first)
    if lost == "marks":
        await producer.append(Text("still there"))
        await redis.delete(session.keys.marks)
    await redis.delete(*second)
    with pytest.raises(Over):
        await producer.append(Text("late"))
    assert not await redis.exists(*session.keys.streams)


async def test_a_resend_is_told_from_everything_else(redis: Redis, writer: Writer, session: Session) -> None:
    """The same count of the same writer is stored once; another writer's same words are another entry."""
    first = Producer(writer, session.keys.up, Marked("c1"))
    await first.append(Text("hello"))
    again = Producer(writer, session.keys.up, Marked("c1"))
    await again.append(Text("hello"))
    other = Producer(writer, session.keys.up, Marked("c2"))
    await other.append(Text("hello"))
    assert (await kinds(redis, session.keys.up)).count(b"text") == 2


async def test_two_gateways_lose_nothing_un_numbered(redis: Redis, writer: Writer, session: Session) -> None:
    """Two connections that write into one session at once both get all in, each in its own order."""
    async with Writer(redis) as other_writer:
        producers = [Producer(w, session.keys.up, Marked(f"c{i}")) for i, w in enumerate((writer, other_writer))]
        for n in range(100):
            for i, producer in enumerate(producers):
                producer.append(Text(f"{i}:{n}"))
            if n % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(producer.flush() for producer in producers))
    found = await texts(redis, session.keys.up)
    for i in range(2):
        assert [text for text in found if text.startswith(f"{i}:")] == [f"{i}:{n}" for n in range(100)]


async def test_numbers_come_in_order_or_not_at_all(redis: Redis, writer: Writer, session: Session) -> None:
    """A numbering client's next number is taken; a later one is told which is wanted."""
    gen = await open_left(writer, session.keys.pcm, up.GenOpened(source="pcm16"), 5)
    assert await Producer(writer, session.keys.pcm, Numbered(gen)).append(Text("1")) == EntryId(gen, SEQ_STRIDE)
    with pytest.raises(Wanted) as caught:
        await Producer(writer, session.keys.pcm, Numbered(gen), first=3).append(Text("3"))
    assert caught.value.after == "1"
    await Producer(writer, session.keys.pcm, Numbered(gen), first=1).append(Text("1"))
    await Producer(writer, session.keys.pcm, Numbered(gen), first=2).append(Text("2"))
    assert await texts(redis, session.keys.pcm) == ["1", "2"]


async def test_a_joined_entry_is_never_doubled_by_a_part_of_it(
    redis: Redis, writer: Writer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1 and 2..4 in one entry, a resend of 2..3 and of 3..5 stores nothing twice and names what is wanted."""
    monkeypatch.setattr(Numbered, "alone_for_s", 0.0)
    gen = await open_left(writer, session.keys.pcm, up.GenOpened(source="pcm16"), 5)
    producer = Producer(writer, session.keys.pcm, Numbered(gen))
    stored = [producer.append(pcm.Audio(audio=bytes([n, 0]))) for n in range(1, 5)]
    assert {entry.result() for entry in stored if not (await asyncio.wait(stored))[1]} == {EntryId(gen, 4 * SEQ_STRIDE)}
    entries = await raw(redis, session.keys.pcm, EntryId(gen, 0))
    assert [(fields[b"audio"], fields[b"first"]) for _, fields in entries] == [(bytes([1, 0, 2, 0, 3, 0, 4, 0]), b"1")]
    scheme = Numbered(gen)
    again = await writer.append(session.keys.pcm, session.keys.marks, scheme.arguments(2, 3), [b"kind", b"audio"])
    assert again[0] == b"stored"
    overlap = await writer.append(session.keys.pcm, session.keys.marks, scheme.arguments(3, 5), [b"kind", b"audio"])
    assert overlap == [b"want", b"4"]
    assert len(await raw(redis, session.keys.pcm, EntryId(gen, 0))) == 1


async def test_control_is_never_joined_with_audio(redis: Redis, writer: Writer, session: Session) -> None:
    """Audio before a commit and audio after it stay on their sides."""
    producer = Producer(writer, session.keys.pcm, Marked("c1"))
    for message in (pcm.Audio(b"\1\0"), pcm.Audio(b"\2\0"), Commit(), pcm.Audio(b"\3\0")):
        producer.append(message)
    await producer.flush()
    assert (await kinds(redis, session.keys.pcm))[1:] == [b"audio", b"commit", b"audio"]


async def test_an_older_gen_is_replaced(writer: Writer, session: Session) -> None:
    """When a newer connection has opened a gen, the older connection's numbers are refused as replaced."""
    old = await open_left(writer, session.keys.up, up.GenOpened(source="files"), 5)
    await open_left(writer, session.keys.up, up.GenOpened(source="files"), 5)
    with pytest.raises(Replaced):
        await Producer(writer, session.keys.up, Numbered(old)).append(Text("late"))


async def test_whoever_does_not_number_writes_into_the_newest_gen(writer: Writer, session: Session) -> None:
    """An un-numbered event lands behind everything, in the gap between two numbers."""
    gen = await open_left(writer, session.keys.up, up.GenOpened(source="files"), 5)
    numbering = Producer(writer, session.keys.up, Numbered(gen))
    await numbering.append(Text("1"))
    assert await Producer(writer, session.keys.up, Marked("timer")).append(Commit()) == EntryId(gen, SEQ_STRIDE + 1)
    assert await numbering.append(Text("2")) == EntryId(gen, 2 * SEQ_STRIDE)


async def test_two_openers_never_believe_in_the_same_gen(writer: Writer, session: Session) -> None:
    """Ten gens opened in the same millisecond are ten different ones, and rise."""
    gens = await asyncio.gather(*(open_left(writer, session.keys.up, up.GenOpened(source="files"), 1000) for _ in range(10)))
    assert len(set(gens)) == 10


async def test_work_done_twice_is_stored_once(redis: Redis, writer: Writer, session: Session) -> None:
    """A transcoder that does another's work again writes the same ids and is refused, and goes on behind them."""
    source = EntryId((await ids(redis, session.keys.pcm))[0].left, 3)

    async def work(pieces: range) -> None:
        scheme = Assigned()
        producer = Producer(writer, session.keys.pcm, scheme)
        for k in pieces:
            scheme.assign(producer.next_number, piece(source, k))
            producer.append(pcm.Audio(bytes([k, 0]), offset=k))
        await producer.flush()

    await work(range(3))
    await work(range(6))
    entries = await raw(redis, session.keys.pcm)
    assert [fields[b"offset"] for _, fields in entries[1:]] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_work_that_the_server_has_lost_is_wanted(redis: Redis, writer: Writer, session: Session) -> None:
    """What follows it is not stored in its place; who was overtaken meanwhile goes on."""
    gen = (await ids(redis, session.keys.pcm))[0].left
    for last, is_lost in ((EntryId(gen, 4_096), True), (EntryId(gen, 0), False)):
        scheme = Assigned(last)
        producer = Producer(writer, session.keys.pcm, scheme)
        scheme.assign(producer.next_number, EntryId(gen, 2 * 4_096))
        producer.append(pcm.Audio(b"ab", offset=0))
        if is_lost:
            with pytest.raises(Wanted):
                await producer.flush()
            assert len(await ids(redis, session.keys.pcm)) == 1
        else:
            await producer.flush()
            assert scheme.last == EntryId(gen, 2 * 4_096)
    behind = Assigned(EntryId(gen, 0))
    producer = Producer(writer, session.keys.pcm, behind)
    behind.assign(producer.next_number, EntryId(gen, 3 * 4_096))
    producer.append(pcm.Audio(b"cd", offset=1))
    await producer.flush()
    assert len(await ids(redis, session.keys.pcm)) == 3


async def test_a_chain_with_a_missing_link_is_refused(redis: Redis, writer: Writer, session: Session) -> None:
    """What was said after a lost entry is not stored before it."""
    epoch = await open_left(writer, session.keys.down, down.EpochTaken(owner="b"), 1000)
    scheme = Chained(epoch)
    answer = await writer.append(session.keys.down, session.keys.marks, scheme.arguments(2, 2), [b"kind", b"opened"])
    assert answer == [b"want", f"{epoch}-0".encode()]


async def test_no_session_key_is_without_ttl(redis: Redis, writer: Writer, session: Session) -> None:
    """Every key of a session expires by itself, whatever was written."""
    await Producer(writer, session.keys.up, Marked("c1")).append(Text("hello"))
    await open_left(writer, session.keys.turns, turns.EpochTaken(owner="b"), 1000)
    for key in await redis.keys("parley:*"):
        if key != b"parley:sessions":
            assert await redis.pttl(key) > 0, key


async def test_two_creations_of_one_name_are_one_session(redis: Redis) -> None:
    """The loser of a race deletes its own streams and is given the winner's session."""
    sessions = Sessions(redis)
    opened = turns.Opened(user="ann", door="watch")
    creations = await asyncio.gather(*(sessions.create(opened, "talk") for _ in range(8)))
    assert len({creation.session.sid for creation in creations}) == 1
    assert sum(creation.created for creation in creations) == 1
    assert len(await redis.keys("parley:{*}:up")) == 1
    assert await sessions.find("ann", "talk") == creations[0].session


async def test_an_ended_name_opens_a_fresh_session(redis: Redis, session: Session) -> None:
    """A name that is used again does not reach the old session."""
    sessions = Sessions(redis)
    await sessions.end(session)
    assert await sessions.find("ann", "ann") is None
    again = await sessions.create(turns.Opened(user="ann", door="mobile"), "ann")
    assert again.created
    assert again.session.sid != session.sid


async def test_the_script_comes_back_after_a_flush(redis: Redis, writer: Writer, session: Session) -> None:
    """A server that has forgotten the script is given it again, and nothing is lost or doubled."""
    producer = Producer(writer, session.keys.up, Marked("c1"))
    await producer.append(Text("1"))
    await redis.script_flush()
    for n in (2, 3, 4):
        producer.append(Text(str(n)))
    await producer.flush()
    assert await texts(redis, session.keys.up) == ["1", "2", "3", "4"]
