"""Pipelines over one connection: an answer is that of its own command, whatever became of those before."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisClusterException, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from runtime.embedded import EmbeddedServer
from streams.connection import connect
from streams.consumer import read
from streams.errors import Over, StreamUnavailable
from streams.hub import open_hub
from streams.pcm import Audio, decoder
from streams.pipelines import Command, Pipelines, pipelines
from streams.producer import RETAIN_BYTES, Marked, Producer
from streams.sessions import Session
from streams.taken_over import TakenOver
from streams.writer import Writer


@pytest.fixture
async def own(redis_server: EmbeddedServer) -> AsyncIterator[Pipelines]:
    client = connect(redis_server.url, max_connections=1)
    own = pipelines(client)
    yield own
    await own.aclose()
    await client.aclose()


async def test_each_command_has_its_answer_and_an_error_is_one(own: Pipelines) -> None:
    first, wrong, last = await own.execute([("ECHO", "a"), ("ECHO",), ("ECHO", b"\xff")])
    assert (first, last) == (b"a", b"\xff")
    assert isinstance(wrong, ResponseError)


async def test_after_one_that_was_given_up_no_answer_is_taken_for_anothers(own: Pipelines, redis: Redis) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await own.execute([("BLPOP", "nothing", 1), ("ECHO", "old")])
    assert await own.execute([("ECHO", "new")]) == [b"new"]


async def test_one_that_is_not_answered_in_time_fails(own: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("streams.pipelines.ANSWER_TIMEOUT_S", 0.05)
        with pytest.raises(RedisTimeoutError):
            await own.execute([("BLPOP", "nothing", 1)])
    assert await own.execute([("ECHO", "new")]) == [b"new"]


async def test_one_whose_answers_are_coming_is_waited_for(own: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that had piled up takes a server longer than one answer may."""
    monkeypatch.setattr("streams.pipelines.ANSWER_TIMEOUT_S", 1.0)
    assert await own.execute([("BLPOP", "nothing", 0.3)] * 4) == [None] * 4


async def test_a_connection_that_was_closed_while_idle_fails_nobody(own: Pipelines, redis: Redis) -> None:
    (client_id,) = await own.execute([("CLIENT", "ID")])
    await redis.execute_command("CLIENT", "KILL", "ID", client_id)
    await asyncio.sleep(0.2)  # until the close has arrived here
    assert await own.execute([("ECHO", "new")]) == [b"new"]


async def test_a_connection_that_is_closed_under_a_pipeline_fails_it(own: Pipelines, redis: Redis) -> None:
    (client_id,) = await own.execute([("CLIENT", "ID")])
    running = asyncio.create_task(own.execute([("BLPOP", "nothing", 5)]))
    async with asyncio.timeout(5):
        while not (await redis.info("clients"))["blocked_clients"]:  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.002)
    await redis.execute_command("CLIENT", "KILL", "ID", client_id)
    with pytest.raises(RedisConnectionError):
        await running


async def test_a_command_goes_with_the_writers_appends(redis: Redis) -> None:
    async with Writer(redis) as writer:
        first, second = writer.do("SET", "key", "a"), writer.do("GET", "key")
        assert [await first, await second] == [b"OK", b"a"]


async def test_a_server_that_has_forgotten_the_script_is_given_it_over_the_same_connection(
    redis: Redis, redis_server: EmbeddedServer, session: Session
) -> None:
    async with open_hub(redis_server.url) as hub:
        producer = Producer(hub.writer, session.keys.pcm, Marked("writer"))
        await redis.script_flush()
        async with asyncio.timeout(10):
            await producer.append(Audio(b"\0\0"))


async def test_a_primary_that_has_become_a_replica_is_left(own: Pipelines) -> None:
    """Who connects anew may be led to the new one. What it has answered is given."""
    (before,) = await own.execute([("CLIENT", "ID")])
    refused, echo = await own.execute([("EVAL", "return redis.error_reply('READONLY it is one')", 0), ("ECHO", "a")])
    assert isinstance(refused, ReadOnlyError)
    assert echo == b"a"
    assert await own.execute([("CLIENT", "ID")]) != [before]


async def test_a_server_that_loads_what_it_has_stored_fails_the_pipeline(own: Pipelines) -> None:
    with pytest.raises(BusyLoadingError):
        await own.execute([("ECHO", "a"), ("EVAL", "return redis.error_reply('LOADING it does')", 0), ("ECHO", "b")])
    assert await own.execute([("ECHO", "new")]) == [b"new"]


class _Faulty:
    """A source with a fault of ours in it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def offered(self) -> list[Command]:
        if self.where == "offered":
            raise LookupError(self.where)
        return [("ECHO", "a"), ("ECHO", "b")]

    def answered(self, answers: Sequence[Any]) -> None:
        raise LookupError(self.where)


@pytest.mark.parametrize("where", ["offered", "answered"])
async def test_a_fault_in_one_source_silences_no_other(redis: Redis, where: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Writer(redis) as writer, asyncio.timeout(5):
        first = writer.do("ECHO", "first")
        writer.take(_Faulty(where))
        last = writer.do("ECHO", "last")
        assert [await first, await last] == [b"first", b"last"]
        assert await writer.do("ECHO", "next") == b"next"
    assert [record.exc_info is not None for record in caplog.records if record.name == "streams.writer"] == [True]


async def test_what_comes_while_a_pipeline_of_others_is_under_way_is_one_entry(redis: Redis, session: Session) -> None:
    async with Writer(redis) as writer, asyncio.timeout(5):
        busy = writer.do("BLPOP", "nothing", 0.2)
        await asyncio.sleep(0)  # it is sent
        producer = Producer(writer, session.keys.pcm, Marked("writer"))
        stored = [producer.append(Audio(b"\0\0")), producer.append(Audio(b"\1\1"))]
        assert await busy is None
        first, second = await asyncio.gather(*stored)
    assert first == second
    *_, entry = await read(redis, session.keys.pcm, decoder)
    assert (entry.id, entry.message) == (first, Audio(b"\0\0\1\1"))


async def test_each_event_is_told_of_when_it_is_stored_and_when_it_is_not(redis: Redis, session: Session) -> None:
    told: list[tuple[int, type[Exception] | None]] = []
    async with Writer(redis) as writer, asyncio.timeout(5):
        producer = Producer(
            writer,
            session.keys.pcm,
            Marked("writer"),
            told=lambda number, error: told.append((number, None if error is None else type(error))),
        )
        producer.put(Audio(b"\0\0"))
        producer.put(Audio(b"\0\0"))
        await producer.flush()
        assert told == [(1, None), (2, None)]
        await redis.delete(session.keys.pcm, session.keys.marks)
        producer.put(Audio(b"\0\0"))
        with pytest.raises(Over):
            await producer.flush()
    assert told[2:] == [(3, Over)]


async def test_what_has_been_stored_is_not_kept(redis: Redis, session: Session) -> None:
    """A recording may have many megabytes, and a client may say nothing more for an hour."""
    async with Writer(redis) as writer:
        producer = Producer(writer, session.keys.pcm, Marked("writer"))
        recording = bytes(2 * RETAIN_BYTES)
        await producer.append(Audio(recording))
        assert sys.getrefcount(recording) == 2  # this name, and what is asked


async def test_whatever_a_pipeline_fails_of_the_next_one_goes_out(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a Cluster that nobody can reach redis-py makes an exception that is no RedisError, and so is a fault of ours."""

    async def fail(commands: Sequence[Command]) -> list[Any]:
        raise RedisClusterException("nobody is there")

    async with Writer(redis) as writer, asyncio.timeout(5):
        with monkeypatch.context() as patch:
            patch.setattr(writer._pipelines, "send", lambda *_: False)
            patch.setattr(writer._pipelines, "execute", fail)
            with pytest.raises(StreamUnavailable):
                await writer.do("ECHO", "a")
        with pytest.raises(StreamUnavailable):
            await writer.do("ECHO", object())  # type: ignore[arg-type]
        assert await writer.do("ECHO", "b") == b"b"


async def test_a_backlog_goes_out_in_pieces_and_in_order(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.writer.AT_ONCE", 3)
    async with Writer(redis) as writer:
        said = [writer.do("RPUSH", "list", n) for n in range(10)]
        assert await asyncio.gather(*said) == list(range(1, 11))


async def test_a_connection_whose_reader_has_had_enough_is_read_on(redis: Redis) -> None:
    """Of what came before it was taken over there may be more than redis-py's reader likes to keep."""
    connection = await redis.connection_pool.get_connection()
    await connection.connect()
    reader: Any = connection._reader
    reader._limit = 4
    for _ in range(5):
        await connection.send_command("PING")
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        while not reader._paused:  # noqa: ASYNC110 - its own affair: no event
            await asyncio.sleep(0.005)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    taken = TakenOver(connection, answers.put_nowait, lambda *_: None)
    taken.write(b"PING\r\n")
    async with asyncio.timeout(5):
        assert [await answers.get() for _ in range(6)] == [b"PONG"] * 6
    await connection.disconnect(nowait=True)
    await redis.connection_pool.release(connection)
