"""A primary that may change: Sentinels say which server it is, each time somebody connects."""

from __future__ import annotations

from typing import Any, Self, cast

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from streams.addresses import Sentinels
from streams.sockets import cancellable, timeouts

SENTINEL_TIMEOUT_S = 1.0
"""How long one Sentinel may take, before the next one is asked."""


class SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a free connection, as our other pools do, and closes what it has asked the Sentinels with."""

    @classmethod
    def to(cls, address: Sentinels, **settings: Any) -> Self:
        """Connections to the primary."""
        of_sentinels = {
            **timeouts(SENTINEL_TIMEOUT_S),
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
            "username": address.sentinel_username,
            "password": address.sentinel_password,
        }
        del of_sentinels["retry_on_error"]
        manager = Sentinel(address.hosts, sentinel_kwargs={**of_sentinels, "ssl": address.tls})
        for sentinel in manager.sentinels:
            pool = sentinel.connection_pool
            pool.connection_class = cancellable(pool.connection_class)
        return cls(
            address.service,
            manager,
            db=address.db,
            username=address.username,
            password=address.password,
            ssl=address.tls,
            **settings,
        )

    async def get_master_address(self) -> tuple[str, int]:
        try:
            return cast(tuple[str, int], await cast(Any, super()).get_master_address())
        except MasterNotFoundError:
            raise MasterNotFoundError(f"no Sentinel knows a primary of {self.service_name!r}") from None

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.connection_pool.disconnect()
