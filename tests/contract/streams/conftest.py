"""A session on a real server, and what the services use to write and read it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams import turns
from streams.bus import Bus
from streams.connection import connect
from streams.hub import open_bus
from streams.sessions import Session, Sessions
from streams.writer import Writer


@pytest.fixture
async def writer(redis: Redis) -> AsyncIterator[Writer]:
    async with Writer(redis) as writer:
        yield writer


@pytest.fixture
async def bus(redis_server: EmbeddedServer) -> AsyncIterator[Bus]:
    client = connect(redis_server.url, waits=True)
    async with open_bus(client) as bus:
        yield bus
    await client.aclose()


@pytest.fixture
async def session(redis: Redis) -> Session:
    creation = await Sessions(redis).create(turns.Opened(user="ann", door="mobile"), "ann")
    assert creation.created
    return creation.session
