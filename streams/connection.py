"""Connections to Redis, with every default that matters set by us, and the checks before we trust a server.

redis-py's own defaults abort a blocking read after 5 s and re-send a write up to ten times. Here readers that wait have
no read timeout (keepalive finds dead peers); writers have one and never re-send by themselves: `streams.producer` does,
because it knows that the append script refuses what is already stored.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from streams.errors import ServerUnfit, StreamUnavailable

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
"""How long a command may go unanswered before the connection counts as dead."""

MIN_VERSION = (7, 0)
"""Redis 7.0 commands are the portable floor: sharded pub/sub, `<ms>-*` ids."""

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def connect(url: str, *, waits: bool = False, max_connections: int = 8) -> Redis:
    """A client for `url`. `waits`: for blocking reads and the bus, which may wait for ever for an answer.

    When all of its connections are busy, the next command waits for one: a hundred sessions may open at once.
    """
    tcp: dict[str, Any] = {}
    if not url.startswith("unix:"):
        tcp = {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    pool = BlockingConnectionPool.from_url(
        url,
        timeout=ANSWER_TIMEOUT_S,
        socket_timeout=None if waits else ANSWER_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        max_connections=max_connections,
        health_check_interval=0,
        # While they are on, the pool takes an idle connection that the server has closed for a good one.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **tcp,
    )
    if sys.version_info < (3, 12):
        pool.connection_class = type("Connection", (_CancellableSend, pool.connection_class), {})
    return Redis.from_pool(pool)


if sys.version_info < (3, 12):

    class _CancellableSend(AbstractConnection):
        """redis-py sends inside `asyncio.wait_for`. Before Python 3.12 that swallows a cancellation which comes just as the
        send is done: the task that was to end goes on, and whoever waits for its end waits for ever."""

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            limit, self.socket_timeout = self.socket_timeout, None  # None: redis-py does without `wait_for`
            try:
                async with asyncio.timeout(limit):
                    await super().send_packed_command(command, check_health)
            except TimeoutError:
                await self.disconnect(nowait=True)
                raise RedisTimeoutError("Timeout writing to socket") from None
            finally:
                self.socket_timeout = limit


async def check_server(redis: Redis) -> str:
    """The server's version, if it can keep our promises.

    Raises StreamUnavailable when nothing answers, ServerUnfit when it is older than 7.0 or may evict keys: an evicted
    stream loses its fence, and with it the promise that nothing is doubled.
    """
    try:
        server = await redis.info("server")
        memory = await redis.info("memory")
    except (RedisError, OSError) as error:
        raise StreamUnavailable(
            f"no Redis answers at {_where(redis)} ({str(error) or type(error).__name__}). "
            "Start one, or point REDIS_URL at yours."
        ) from error
    version = str(server.get("valkey_version") or server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
        raise ServerUnfit(f"Redis {version} at {_where(redis)} is too old: Parley needs 7.0 or newer, or any Valkey.")
    policy = memory.get("maxmemory_policy")
    if policy != "noeviction":
        raise ServerUnfit(
            f"Redis at {_where(redis)} has maxmemory-policy {policy}: it may throw away live sessions. "
            "Set it with: redis-cli CONFIG SET maxmemory-policy noeviction"
        )
    return version


def text(value: bytes | str) -> str:
    """What Redis answered, as text: its client's types allow for both, ours are always bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _where(redis: Redis) -> str:
    options = redis.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")
