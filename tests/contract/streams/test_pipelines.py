"""Pipelines over one connection: an answer is that of its own command, whatever became of those before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from runtime.embedded import EmbeddedServer
from streams.connection import connect
from streams.hub import open_hub
from streams.pcm import Audio
from streams.pipelines import Pipelines, pipelines
from streams.producer import Marked, Producer
from streams.sessions import Session
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
    monkeypatch.setattr("streams.pipelines.ANSWER_TIMEOUT_S", 0.05)
    with pytest.raises(RedisTimeoutError):
        await own.execute([("BLPOP", "nothing", 1)])
    assert await own.execute([("ECHO", "new")]) == [b"new"]


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
        async with asyncio.timeout(1):
            await producer.append(Audio(b"\0\0"))
