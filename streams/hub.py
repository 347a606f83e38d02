"""One process's connections to Redis: one for reads, one for the writer, one each for whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from streams.bus import Bus
from streams.cluster import ClusterClient, ClusterNodes
from streams.connection import check_server, connect
from streams.sentinel import SentinelPool, follow
from streams.writer import Writer


@dataclass(frozen=True, slots=True)
class Hub:
    """What a service reads, writes and hears with."""

    redis: Redis
    """for reads and small commands"""
    waiting: Redis
    """for commands that wait some seconds for their answer"""
    writer: Writer
    bus: Bus


READ_CONNECTIONS = 16
"""Of the client that reads; who comes when all are busy waits."""


@asynccontextmanager
async def open_hub(url: str) -> AsyncIterator[Hub]:
    """Connect, and check that the server can keep our promises. Raises StreamUnavailable or ServerUnfit."""
    async with AsyncExitStack() as stack:
        # A client each: a pipeline of appends waits for no read, and who waits for ever keeps nobody else waiting.
        reads, writes, waiting, hears = clients = (
            connect(url, max_connections=READ_CONNECTIONS),
            connect(url, max_connections=1),
            connect(url, waits=True, max_connections=1),
            connect(url, max_connections=1),
        )
        for client in clients:
            stack.push_async_callback(client.aclose)
        await check_server(reads)
        ours = [getattr(client, "connection_pool", None) for client in clients]  # a Cluster's client has none
        pools = [pool for pool in ours if isinstance(pool, SentinelPool)]
        if pools:
            following = asyncio.create_task(follow(pools), name="streams.sentinel")
            stack.push_async_callback(_ended, following)
        writer = await stack.enter_async_context(Writer(writes))
        bus = await stack.enter_async_context(open_bus(hears))
        yield Hub(reads, waiting, writer, bus)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def open_bus(redis: Redis) -> AsyncIterator[Bus]:
    """Of a client that is for nothing else."""
    async with AsyncExitStack() as stack:
        nodes = None
        if isinstance(redis, ClusterClient):
            nodes = ClusterNodes(redis)
            stack.push_async_callback(nodes.aclose)
            await nodes.look_again()
        yield await stack.enter_async_context(Bus(redis, nodes))
