"""Pools of connections that stay closed when they are closed.

redis-py's opens a new connection for whoever still asks: a task that had waited to try again, one that was just connecting.
Nobody closes that one any more.
"""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError


class Pool(BlockingConnectionPool):
    """Whoever wants a connection of it when it is closed gets a ConnectionError, as if the server was away."""

    _is_closed = False

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        self._check()
        await super().ensure_connection(connection)
        if self._is_closed:  # meanwhile
            await connection.disconnect()
            self._check()

    async def release(self, connection: AbstractConnection) -> None:
        if self._is_closed:
            await connection.disconnect()
        await super().release(connection)

    async def aclose(self) -> None:
        self._is_closed = True
        await super().aclose()

    def _check(self) -> None:
        if self._is_closed:
            raise RedisConnectionError("our connections to it are closed")
