"""A client that is closed has no connection, and gets none, whoever was still at it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.embedded import EmbeddedServer
from streams.connection import connect
from streams.hub import open_hub
from streams.messages import Text
from streams.producer import Marked, Producer
from streams.sessions import Session


async def connections(redis: Redis) -> int:
    return len(await redis.client_list())


async def ask(client: Redis) -> None:
    await client.ping()


async def closes(redis: Redis, before: int) -> None:
    """There are as many as before."""
    async with asyncio.timeout(5):
        while await connections(redis) > before:  # noqa: ASYNC110 - a server: no event
            await asyncio.sleep(0.005)


async def waits(producer: Producer) -> asyncio.TimerHandle:
    """What it has was not answered, and it will offer that again."""
    async with asyncio.timeout(10):
        while producer._pause is None:  # noqa: ASYNC110 - its own affair: no event
            await asyncio.sleep(0.005)
    return producer._pause


async def test_a_closed_client_asks_nobody(redis: Redis, redis_server: EmbeddedServer) -> None:
    before = await connections(redis)
    client = connect(redis_server.url)
    await client.ping()
    await client.aclose()
    with pytest.raises(RedisConnectionError, match="closed"):
        await client.ping()
    await closes(redis, before)


async def test_one_that_is_closed_while_somebody_connects(redis: Redis, redis_server: EmbeddedServer) -> None:
    """At whatever step of it."""
    before = await connections(redis)
    for steps in range(40):
        client = connect(redis_server.url)
        asking = asyncio.create_task(ask(client))
        for _ in range(steps):
            await asyncio.sleep(0)
        await client.aclose()
        with suppress(RedisConnectionError):
            await asking
    await closes(redis, before)


async def test_a_producer_that_tries_again_when_all_is_closed(
    redis: Redis, redis_server: EmbeddedServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line broke a moment before, so that it waited to offer what it has once more."""
    monkeypatch.setattr("streams.producer.RESEND_AFTER_S", (3600.0,))
    before = await connections(redis)
    async with open_hub(redis_server.url) as hub:
        producer = Producer(hub.writer, session.keys.up, Marked("c"))
        await producer.append(Text("1"))
        await redis.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
        producer.append(Text("2"))
        await asyncio.sleep(0.01)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await redis.execute_command("CLIENT", "UNPAUSE")
        (await waits(producer)).cancel()
    producer._offer_again()
    (await waits(producer)).cancel()
    await closes(redis, before)
