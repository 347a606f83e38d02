"""Connections that break, a server that stalls, a writer that was asleep: nothing lost, nothing doubled, no zombie heard."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams import down, pcm, up
from streams.connection import connect
from streams.errors import Over, StreamFull
from streams.ids import EntryId
from streams.messages import Text
from streams.producer import MAX_WAITING_BYTES, Chained, Marked, Producer, open_left
from streams.sessions import Session, Sessions
from streams.writer import Writer
from tests.contract.streams.entries import raw, texts


async def test_connections_that_are_cut_lose_and_double_nothing(
    redis_server: EmbeddedServer, redis: Redis, session: Session
) -> None:
    """The writer's connection is killed again and again with pipelines in flight."""
    victim = connect(redis_server.url)
    async with Writer(victim) as writer:
        producers = [Producer(writer, session.keys.up, Marked(f"c{i}")) for i in range(3)]
        for n in range(150):
            for i, producer in enumerate(producers):
                producer.append(Text(f"{i}:{n}"))
            if n % 10 == 5:
                await asyncio.sleep(0)
                await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            if n % 25 == 0:
                await asyncio.sleep(0.01)
        await asyncio.gather(*(producer.flush() for producer in producers))
    await victim.aclose()
    found = await texts(redis, session.keys.up)
    for i in range(3):
        assert [text for text in found if text.startswith(f"{i}:")] == [f"{i}:{n}" for n in range(150)]


async def is_sent(writer: Writer) -> None:
    """What the writer was given is with the server."""
    async with asyncio.timeout(10):
        while cast(Any, writer._pipelines)._answered is None:  # noqa: ASYNC110 - its own affair: no event
            await asyncio.sleep(0)


async def test_a_server_that_stalls_gets_a_resend_and_stores_it_once(
    redis_server: EmbeddedServer, redis: Redis, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the answer's time limit the same entry is sent again; the stalled first try is executed too, and refused."""
    client = connect(redis_server.url)
    async with Writer(client) as writer:
        producer = Producer(writer, session.keys.up, Marked("c"))
        await producer.append(Text("before"))
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            for n in range(5):
                producer.append(Text(f"during {n}"))
            await is_sent(writer)
            with monkeypatch.context() as patch:
                patch.setattr("streams.pipelines.ANSWER_TIMEOUT_S", 0.0)
                cast(Any, writer._pipelines)._look_at_the_clock()
            assert producer._failures == 1
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        await producer.append(Text("after"))
    await client.aclose()
    assert await texts(redis, session.keys.up) == ["before", *(f"during {n}" for n in range(5)), "after"]


async def test_what_waits_for_a_server_that_is_away_is_bounded(
    redis_server: EmbeddedServer, redis: Redis, writer: Writer, session: Session
) -> None:
    """Past the bound an append is refused at once, and what was taken before is stored when the server is back."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        megabyte = up.File(data=bytes(1 << 20), arrived_ms=0)
        taken = MAX_WAITING_BYTES // len(megabyte.data)
        for _ in range(taken):
            producer.append(megabyte)
        with pytest.raises(StreamFull):
            producer.append(megabyte)
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    await producer.flush()
    assert await redis.xlen(session.keys.up) == taken + 1


async def test_a_full_server_is_waited_for(redis: Redis, writer: Writer, session: Session) -> None:
    """Out of memory is no loss: in order, as soon as there is room."""
    producer = Producer(writer, session.keys.up, Marked("c"))
    await producer.append(Text("1"))
    await redis.config_set("maxmemory", 1)
    try:
        waiting = [producer.append(Text("2")), producer.append(Text("3"))]
        await asyncio.sleep(0.1)
        assert not any(future.done() for future in waiting)
    finally:
        await redis.config_set("maxmemory", 0)
    await producer.flush()
    assert await texts(redis, session.keys.up) == ["1", "2", "3"]


_BRIDGE = """
import asyncio, sys
from streams import down
from streams.connection import connect
from streams.errors import Fenced, Over
from streams.producer import Chained, Producer
from streams.writer import Writer

async def main(url, stream, epoch):
    redis = connect(url)
    async with Writer(redis) as writer:
        producer = Producer(writer, stream, Chained(epoch))
        try:
            while True:
                await producer.append(down.Failed(code="said", message=str(epoch)))
                await asyncio.sleep(0.001)
        except Fenced:
            print("fenced", flush=True)
        except Over:
            print("over", flush=True)
    await redis.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@asynccontextmanager
async def bridge_asleep(
    redis_server: EmbeddedServer, redis: Redis, stream: str, epoch: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bridge process that has spoken and was stopped in mid-sentence."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _BRIDGE, redis_server.url, stream, str(epoch), stdout=asyncio.subprocess.PIPE
    )
    try:
        while await redis.xlen(stream) < 4:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def last_word(process: asyncio.subprocess.Process) -> bytes:
    process.send_signal(signal.SIGCONT)
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 10)).strip()


async def test_a_zombie_is_not_heard_after_a_takeover(
    redis_server: EmbeddedServer, redis: Redis, writer: Writer, session: Session
) -> None:
    """A bridge that was stopped while another took over wakes up fenced: not one more entry."""
    stream = session.keys.down
    old = await open_left(writer, stream, down.EpochTaken(owner="old"), 1000)
    async with bridge_asleep(redis_server, redis, stream, old) as zombie:
        new = await open_left(writer, stream, down.EpochTaken(owner="new"), 1000)
        await Producer(writer, stream, Chained(new)).append(down.Failed(code="said", message="mine"))
        assert await last_word(zombie) == b"fenced"
    entries = await raw(redis, stream)
    lefts = [entry_id.left for entry_id, _ in entries]
    assert lefts == sorted(lefts)
    assert [entry_id for entry_id, _ in entries][-2:] == [EntryId(new, 0), EntryId(new, 1)]


async def test_a_zombie_brings_no_ended_session_back(
    redis_server: EmbeddedServer, redis: Redis, writer: Writer, session: Session
) -> None:
    """It was stopped, the session expired meanwhile: it is told so, and no key appears."""
    old = await open_left(writer, session.keys.down, down.EpochTaken(owner="old"), 1000)
    async with bridge_asleep(redis_server, redis, session.keys.down, old) as zombie:
        await Sessions(redis).end(session, linger_ms=0)
        assert await last_word(zombie) == b"over"
    assert await redis.keys("*") == []


async def test_a_flush_tells_what_a_dropped_future_knew(redis: Redis, writer: Writer, session: Session) -> None:
    """Whoever does not wait for single entries hears of the failure all the same."""
    producer = Producer(writer, session.keys.pcm, Marked("c"))
    await Sessions(redis).end(session, linger_ms=0)
    producer.append(pcm.Audio(b"\0\0"))
    with pytest.raises(Over):
        await producer.flush()
    with pytest.raises(Over):
        producer.append(pcm.Audio(b"\0\0"))
