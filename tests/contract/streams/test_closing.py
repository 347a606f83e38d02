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
from streams.producer import RESEND_AFTER_S, Marked, Producer
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
    redis: Redis, redis_server: EmbeddedServer, session: Session
) -> None:
    """Its line broke a moment before, so that it waited to offer what it has once more."""
    before = await connections(redis)
    async with open_hub(redis_server.url) as hub:
        producer = Producer(hub.writer, session.keys.up, Marked("c"))
        await producer.append(Text("1"))
        await redis.execute_command("CLIENT", "PAUSE", 100, "WRITE")
        producer.append(Text("2"))
        await asyncio.sleep(0.01)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.15 + sum(RESEND_AFTER_S[:2]))
    await closes(redis, before)
    assert producer._pause is not None
    producer._pause.cancel()
