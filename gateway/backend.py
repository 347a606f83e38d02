"""The gateway's connections to Redis, opened at start and closed at the end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.keeper import Keeper
from runtime.errors import StartError
from streams.bus import Bus
from streams.errors import StreamError
from streams.hub import open_hub
from streams.kept import Kept
from streams.sessions import Sessions
from streams.writer import Writer

PING_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Backend:
    """What the doors need of Redis."""

    redis: Redis
    """for what is asked now and then, and for reading streams"""
    writer: Writer
    bus: Bus
    sessions: Sessions
    name: str
    """this process, for whoever reads `attach`"""
    grace_s: float = 60.0
    """how long a session waits for its client"""
    records: bool = False
    """sessions of this deployment may be recorded"""
    keeper: Keeper = field(default_factory=Keeper)

    async def trouble(self) -> str | None:
        """Why Redis cannot be used at the moment; None when it answers."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self.redis.ping()
        except TimeoutError:
            return f"Redis has not answered for {PING_TIMEOUT_S:g} s"
        except (RedisError, OSError) as error:
            return f"Redis does not answer: {str(error) or type(error).__name__}"
        return None


@asynccontextmanager
async def open_backend(
    url: str, grace_s: float = 60.0, *, keep_s: float = 0, webhook: bool = False, records: bool = False
) -> AsyncIterator[Backend]:
    """Connect, and check that the server can keep our promises. Raises StartError, which says what to do.

    `keep_s`, `webhook`: see `Kept`.
    """
    async with AsyncExitStack() as stack:
        try:
            hub = await stack.enter_async_context(open_hub(url))
        except StreamError as error:
            raise StartError(str(error)) from error
        sessions = Sessions(hub.redis, Kept(hub.redis, keep_s=keep_s, webhook=webhook), hub.writer)
        name = f"{socket.gethostname()}:{os.getpid()}"
        yield Backend(hub.redis, hub.writer, hub.bus, sessions, name, grace_s, records)
