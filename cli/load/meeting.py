"""Where the services of a fleet meet, and how it is broken: a Redis server, one with a replica and Sentinels, a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Protocol, cast

from redis.asyncio import Redis
from redis.crc import key_slot

from cli.load.far import Line
from cli.load.faults import LOST_MS, SLOW_MS, Fault, Kind, setup
from cli.load.servers import Nodes, Watched, clustered, watched
from runtime.embedded import EmbeddedServer
from streams import keys
from streams.connection import connect, text
from streams.keys import SessionKeys

SLOW_LOSS = 0.02
"""Of what is said to a server that is far away: it is said again, a moment later."""
HALF_MOVED_S = 0.2
"""How long a slot is with two masters, about."""
BETWEEN_MOVES_S = 0.1
_KEEPS = ("--appendonly", "yes", "--appendfsync", "everysec")
_ON_THE_LINE = ("slow", "cut", "stall")


class Meeting(Protocol):
    redis: Redis
    """this process's own way there"""

    @property
    def url(self) -> str:
        """for everybody else"""

    def pids(self) -> list[int]: ...

    async def breaks(self, fault: Fault) -> None:
        """Until it is over."""


class One:
    """One server; the line to it may be a long one."""

    def __init__(self, server: EmbeddedServer, far: Line | None, redis: Redis) -> None:
        self.server, self.far, self.redis = server, far, redis

    @property
    def url(self) -> str:
        return self.server.url if self.far is None else self.far.url

    def pids(self) -> list[int]:
        return [self.server.process.pid]

    async def breaks(self, fault: Fault) -> None:
        seconds = fault.kind.seconds
        match fault.kind.how:
            case "restart":
                self.server.kill()
                await asyncio.sleep(seconds)
                await self.server.start_async()
            case "full":
                await self.redis.config_set("maxmemory", 1)
                await asyncio.sleep(seconds)
                await self.redis.config_set("maxmemory", 0)
            case "cut":
                assert self.far is not None
                await self.far.cut_often(seconds)
            case "stall":
                assert self.far is not None
                await self.far.stall(seconds)
            case _:
                assert self.far is not None
                self.far.delay_s, self.far.loss = SLOW_MS / 2000, SLOW_LOSS
                await asyncio.sleep(seconds)
                self.far.delay_s = self.far.loss = 0.0


class WithSentinels:
    """A primary that may change."""

    def __init__(self, servers: Watched, redis: Redis) -> None:
        self.servers, self.redis = servers, redis

    @property
    def url(self) -> str:
        return self.servers.url

    def pids(self) -> list[int]:
        return self.servers.pids()

    async def breaks(self, fault: Fault) -> None:
        """And until there is a replica again."""
        if fault.kind.how == "hang":
            ends_at = asyncio.get_running_loop().time() + fault.kind.seconds
            await self.servers.hangs()
            await asyncio.sleep(max(0.0, ends_at - asyncio.get_running_loop().time()))
        else:
            await self.servers.dies(LOST_MS / 1000 if fault.kind.how == "lose" else 0.0)
        await self.servers.back()


class OfThree:
    """A Cluster whose slots move: those of sessions in which somebody talks, of the dispatch streams, of the list."""

    def __init__(self, nodes: Nodes, redis: Redis) -> None:
        self.nodes, self.redis = nodes, redis

    @property
    def url(self) -> str:
        return self.nodes.url

    def pids(self) -> list[int]:
        return [node.process.pid for node in self.nodes.nodes]

    async def breaks(self, fault: Fault) -> None:
        random, loop = Random(fault.victim), asyncio.get_running_loop()
        until = loop.time() + fault.kind.seconds
        sids = [text(cast(bytes, sid)) for sid in await self.redis.zrange(keys.SESSIONS, 0, -1)]
        names = [SessionKeys(sid).up for sid in sids]
        names += [keys.dispatch("bridge"), keys.dispatch("transcoder"), keys.SESSIONS]
        slots = sorted({key_slot(name.encode()) for name in names})
        random.shuffle(slots)
        at = 0
        while loop.time() < until:
            await self.nodes.move(slots[at % len(slots)], random.randrange(len(self.nodes.nodes)), within_s=HALF_MOVED_S)
            await asyncio.sleep(BETWEEN_MOVES_S)
            at += 1


@asynccontextmanager
async def meeting(kinds: Sequence[Kind]) -> AsyncIterator[Meeting]:
    """Such a Redis as these faults need. Raises ServerError."""
    async with AsyncExitStack() as stack:
        match setup(kinds):
            case "sentinels":
                servers = await stack.enter_async_context(watched())
                yield WithSentinels(servers, await stack.enter_async_context(connect(servers.url)))
            case "cluster":
                nodes = await stack.enter_async_context(clustered())
                yield OfThree(nodes, await stack.enter_async_context(connect(nodes.url)))
            case _:
                ours = [kind for kind in kinds if kind.service == "redis"]
                keeps = _KEEPS if any(kind.how == "restart" for kind in ours) else ()
                server = await stack.enter_async_context(EmbeddedServer(*keeps))
                far = None
                if any(kind.how in _ON_THE_LINE for kind in ours):  # all that is said passes through this process
                    far = await stack.enter_async_context(Line(server.url, delay_s=0.0).open())
                yield One(server, far, await stack.enter_async_context(Redis(port=server.port)))
