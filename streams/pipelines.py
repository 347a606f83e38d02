"""Pipelines of one caller: one after the other over the same connection; to a Cluster, redis-py's own.

redis-py's take a connection from their pool each time, and set a clock for each answer of each command. That took more of a
process's time than all the rest of an append, and a process appends for all of its sessions.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.typing import EncodableT

from streams.cluster import ClusterClient
from streams.sockets import ANSWER_TIMEOUT_S

Command = tuple[EncodableT, ...]
"""Its name is one word, without a space."""


class Pipelines(Protocol):
    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The answer to each command, which may be a ResponseError.

        Raises RedisError or OSError when nobody knows what was done.
        """

    async def load(self, script: bytes) -> None:
        """Have it known wherever commands go. Raises RedisError, OSError."""

    async def aclose(self) -> None:
        """No more of them."""


def pipelines(redis: Redis) -> Pipelines:
    """Of this client, which nobody else uses meanwhile."""
    if isinstance(redis, ClusterClient):
        return _ToCluster(redis)
    return _ToServer(redis)


class _ToServer:
    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._connection: AbstractConnection | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        connection = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                packed = b"".join([hiredis.pack_command(cast(Any, command)) for command in commands])
                await connection.send_packed_command(packed, check_health=False)
                return [await _answer(connection) for _ in commands]
        except TimeoutError:
            await connection.disconnect(nowait=True)
            raise RedisTimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s") from None
        except BaseException:  # answers may still come, and are those of no later command
            await connection.disconnect(nowait=True)
            raise

    async def load(self, script: bytes) -> None:
        (answer,) = await self.execute([("SCRIPT", "LOAD", script)])  # the client may have no other connection
        if isinstance(answer, ResponseError):
            raise answer

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._pool.release(connection)

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        else:  # the server may have closed it while it was idle
            await self._pool.ensure_connection(self._connection)
        return self._connection


class _ToCluster:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

    async def load(self, script: bytes) -> None:
        await self._redis.script_load(script)

    async def aclose(self) -> None:
        pass


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=math.inf, disconnect_on_error=False)  # the clock is the pipeline's
    except ResponseError as error:
        return error
