"""What a stream holds, raw: as an operator would read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from streams import keys
from streams.cluster import ClusterClient, ClusterNodes
from streams.dispatch import Assignment
from streams.ids import EntryId


async def raw(redis: Redis, stream: str, after: EntryId | None = None) -> list[tuple[EntryId, dict[bytes, bytes]]]:
    """All entries, or those behind `after`."""
    page = await redis.xrange(stream, min="-" if after is None else f"({after}")
    return [(EntryId.parse(i), f) for i, f in cast(list[tuple[bytes, dict[bytes, bytes]]], page)]


async def texts(redis: Redis, stream: str) -> list[str]:
    """The words of its text entries, in order."""
    return [fields[b"text"].decode() for _, fields in await raw(redis, stream) if b"text" in fields]


@asynccontextmanager
async def hearing(redis: Redis, channel: str) -> AsyncIterator[PubSub]:
    """A channel, through a connection of its own; in a Cluster to the node that carries it."""
    async with AsyncExitStack() as stack:
        if isinstance(redis, ClusterClient):
            nodes = ClusterNodes(redis)
            stack.push_async_callback(nodes.aclose)
            redis = nodes.client(nodes.node_of(channel.encode()))
        pubsub = await stack.enter_async_context(redis.pubsub())
        await pubsub.ssubscribe(channel)
        assert (await pubsub.get_message(timeout=5))["type"] == "ssubscribe"
        yield pubsub


@asynccontextmanager
async def losing(redis: Redis, *names: str) -> AsyncIterator[None]:
    """What is written to these keys in this context is gone after it."""
    before = [await redis.dump(name) for name in names]
    yield
    for name, value in zip(names, before, strict=True):
        assert value is not None
        await redis.restore(name, 60_000, value, replace=True)


async def silent(redis: Redis, role: keys.Role, worker: str, taken: Sequence[Assignment], ms: int) -> None:
    """As if this worker had not kept what it has for so long: the server's own clock is not waited for."""
    ids = [str(assignment.id) for assignment in taken]
    await redis.xclaim(keys.dispatch(role), keys.DISPATCH_GROUP, worker, 0, cast(Any, ids), idle=ms, justid=True)
