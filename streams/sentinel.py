"""A primary that may change: Sentinels say which server it is, each time somebody connects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self, cast

from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from streams.addresses import Sentinels
from streams.pools import Pool
from streams.sockets import cancellable, timeouts

logger = logging.getLogger(__name__)

SENTINEL_TIMEOUT_S = 1.0
"""How long one Sentinel may take, before the next one is asked."""


class _ToPrimary(SentinelManagedConnection):
    """Asks the server itself, too: until Sentinels agree on another one they name a primary that died, and when that is back
    as a replica it has nothing yet. Whoever read there would find sessions gone that are not."""

    async def connect_to(self, address: tuple[str, int]) -> None:
        await cast(Any, super()).connect_to(address)
        try:
            await self.send_command("ROLE")
            role = await self.read_response(disable_decoding=True)
            if role[0] != b"master":
                raise RedisConnectionError(f"{address[0]}:{address[1]} is no primary, whatever Sentinels say")
        except BaseException:
            await self.disconnect(nowait=True)
            raise


class _ToPrimaryByTLS(_ToPrimary, SSLConnection):
    pass


def _sentinels(address: Sentinels) -> Sentinel:
    settings = {
        **timeouts(SENTINEL_TIMEOUT_S),
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "username": address.sentinel_username,
        "password": address.sentinel_password,
    }
    del settings["retry_on_error"]
    manager = Sentinel(address.hosts, sentinel_kwargs={**settings, "ssl": address.tls})
    for sentinel in manager.sentinels:
        pool = sentinel.connection_pool
        pool.connection_class = cancellable(pool.connection_class)
    return manager


class SentinelPool(SentinelConnectionPool, Pool):
    """Waits for a free connection, as our other pools do, and closes what it has asked the Sentinels with."""

    _asked: Sentinel
    """by `get_named`: two who ask at the same time put the list of Sentinels in disorder"""

    @classmethod
    def to(cls, address: Sentinels, **settings: Any) -> Self:
        """Connections to the primary."""
        pool = cls(
            address.service,
            _sentinels(address),
            db=address.db,
            username=address.username,
            password=address.password,
            connection_class=_ToPrimaryByTLS if address.tls else _ToPrimary,
            # A primary whose machine is gone answers nothing at all, and another one is there within two seconds.
            **{**settings, "socket_connect_timeout": SENTINEL_TIMEOUT_S},
        )
        pool._asked = _sentinels(address)
        return pool

    async def get_master_address(self) -> tuple[str, int]:
        try:
            return cast(tuple[str, int], await cast(Any, super()).get_master_address())
        except MasterNotFoundError:
            raise MasterNotFoundError(f"no Sentinel knows a primary of {self.service_name!r}") from None

    async def get_named(self) -> tuple[str, int]:
        """Who Sentinels say is the primary, whatever our connections lead to. Raises RedisError, OSError."""
        return cast(tuple[str, int], await cast(Any, self._asked).discover_master(self.service_name))

    def let_go(self) -> None:
        """Break all connections, as a reset would: whoever waits for an answer is told at once."""
        for connection in [*self._available_connections, *self._in_use_connections]:
            writer = cast(Any, connection)._writer
            if writer is not None:
                writer.transport.abort()

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in [*self.sentinel_manager.sentinels, *self._asked.sentinels]:
                await sentinel.connection_pool.disconnect()


LOOK_EVERY_S = 0.25
"""For another primary. A failover takes some two seconds, and after a little more a bridge gives its sessions up."""


async def follow(pools: Sequence[SentinelPool]) -> None:
    """Until cancelled: when Sentinels name another primary, nobody waits any longer for the one before.

    One that died has closed its connections. One that hangs, or that nobody reaches any more, closes nothing: what was asked
    there would be waited for longer than a lease lasts, and when it wakes up it takes itself for the primary for a while.
    """
    known: tuple[str, int] | None = None
    while True:
        with suppress(RedisError, OSError):
            named = await pools[0].get_named()
            if known is not None and named != known:
                logger.warning("%s:%s is the primary now: connections to the one before are closed", *named)
                for pool in pools:
                    pool.let_go()
            known = named
        await asyncio.sleep(LOOK_EVERY_S)
