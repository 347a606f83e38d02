"""Pipelines of one caller: one after the other over the same connection; to a Cluster, redis-py's own.

redis-py's take a connection from their pool each time, set a clock for each answer of each command, and read it through a
task. That took more of a process's time than all the rest of an append, and a process appends for all of its sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.typing import EncodableT

from streams.cluster import ClusterClient
from streams.sockets import ANSWER_TIMEOUT_S
from streams.taken_over import TakenOver

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
        self._taken: TakenOver | None = None
        self._answers: list[Any] = []
        self._wanted = 0
        """how many answers the pipeline that is under way has in all"""
        self._all_answered: asyncio.Future[None] | None = None
        self._since = 0.0
        """when that pipeline was sent"""
        self._clock: asyncio.TimerHandle | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        taken = self._taken
        if taken is None or taken.is_lost:
            taken = await self._connected()
        loop = asyncio.get_running_loop()
        self._answers, self._wanted, self._since = [], len(commands), loop.time()
        all_answered = self._all_answered = loop.create_future()
        if self._clock is None:
            self._clock = loop.call_later(ANSWER_TIMEOUT_S, self._look_at_the_clock)
        try:
            taken.write(b"".join([hiredis.pack_command(cast(Any, command)) for command in commands]))
            await all_answered
        except BaseException:  # answers may still come, and are those of no later command
            await self._disconnect()
            raise
        finally:
            self._all_answered = None
        for answer in self._answers:
            if isinstance(answer, RedisConnectionError):  # as it is while it loads what it has stored
                await self._disconnect()
                raise answer
            if isinstance(answer, ReadOnlyError):  # it is a primary no more; whoever connects anew may be led to the new one
                await self._disconnect()
        return self._answers

    async def load(self, script: bytes) -> None:
        (answer,) = await self.execute([("SCRIPT", "LOAD", script)])  # the client may have no other connection
        if isinstance(answer, ResponseError):
            raise answer

    async def aclose(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        if self._connection is not None:
            connection = self._connection
            await self._disconnect()
            self._connection = None
            await self._pool.release(connection)

    async def _connected(self) -> TakenOver:
        await self._disconnect()
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        else:
            await self._pool.ensure_connection(self._connection)
        taken = self._taken = TakenOver(self._connection, self._answered, self._lost)
        return taken

    async def _disconnect(self) -> None:
        self._taken = None
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)

    def _answered(self, answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification) or self._all_answered is None:
            return
        self._answers.append(answer)
        if len(self._answers) == self._wanted and not self._all_answered.done():
            self._all_answered.set_result(None)

    def _lost(self, error: RedisError) -> None:
        if self._all_answered is not None and not self._all_answered.done():
            self._all_answered.set_exception(error)

    def _look_at_the_clock(self) -> None:
        """One clock for all pipelines: it is set anew when it has run down, and not for each of them."""
        self._clock = None
        if self._all_answered is None or self._all_answered.done():
            return
        loop = asyncio.get_running_loop()
        if (left := self._since + ANSWER_TIMEOUT_S - loop.time()) > 0:
            self._clock = loop.call_later(left, self._look_at_the_clock)
        else:
            self._lost(RedisTimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s"))


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
