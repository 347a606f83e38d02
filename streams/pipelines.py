"""Pipelines of one caller: one after the other over the same connection; to a Cluster, redis-py's own.

redis-py's take a connection from their pool each time, set a clock for each answer of each command, and read it through a
task. That took more of a process's time than all the rest of an append, and a process appends for all of its sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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
from streams.taken_over import CLOSED, TakenOver

Command = tuple[EncodableT, ...]
"""Its name is one word, without a space."""


Answered = Callable[[list[Any] | RedisError | OSError], None]
"""Called with what `Pipelines.execute` would give, or raise."""


class Pipelines(Protocol):
    """One at a time."""

    def send(self, commands: Sequence[Command], answered: Answered) -> bool:
        """Send them, if that needs no wait; then `answered` is called, once. Else nothing was done: `execute` them."""

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
        self._answered: Answered | None = None
        """of the pipeline that is under way"""
        self._answers: list[Any] = []
        self._wanted = 0
        """how many answers that has in all"""
        self._since = 0.0
        """when it was sent, or was last seen to have been answered in part"""
        self._seen = 0
        """how many answers there were then"""
        self._clock: asyncio.TimerHandle | None = None

    def send(self, commands: Sequence[Command], answered: Answered) -> bool:
        taken = self._taken
        if taken is None or not taken.is_open:
            return False
        taken.write(b"".join([hiredis.pack_command(cast(Any, command)) for command in commands]))
        loop = asyncio.get_running_loop()
        self._answered, self._answers, self._wanted, self._since = answered, [], len(commands), loop.time()
        self._seen = 0
        if self._clock is None:
            self._clock = loop.call_later(ANSWER_TIMEOUT_S, self._look_at_the_clock)
        return True

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        result: asyncio.Future[list[Any] | RedisError | OSError] = asyncio.get_running_loop().create_future()
        if not self.send(commands, result.set_result):
            await self._connect()
            if not self.send(commands, result.set_result):
                raise RedisConnectionError(CLOSED)
        try:
            answers = await result
        except asyncio.CancelledError:
            self._answered = None
            self._drop()  # answers may still come, and are those of no later command
            raise
        if isinstance(answers, Exception):
            raise answers
        return answers

    async def load(self, script: bytes) -> None:
        (answer,) = await self.execute([("SCRIPT", "LOAD", script)])  # the client may have no other connection
        if isinstance(answer, ResponseError):
            raise answer

    async def aclose(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        self._end(RedisConnectionError(CLOSED))
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _connect(self) -> None:
        self._drop()
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        else:
            await self._connection.disconnect(nowait=True)
            await self._pool.ensure_connection(self._connection)
        self._taken = TakenOver(self._connection, self._take, self._lost)

    def _drop(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.abort()

    def _take(self, answer: Any) -> None:
        if self._answered is None or isinstance(answer, hiredis.PushNotification):
            return
        if isinstance(answer, RedisConnectionError):  # as it is while the server loads what it has stored
            self._end(answer)
            return
        self._answers.append(answer)
        if len(self._answers) == self._wanted:
            answered, self._answered = self._answered, None
            if any(isinstance(each, ReadOnlyError) for each in self._answers):
                self._drop()  # it is no primary any more; whoever connects anew may be led to the new one
            answered(self._answers)

    def _lost(self, taken: TakenOver, error: RedisError) -> None:
        if taken is self._taken:
            self._end(error)

    def _end(self, error: RedisError) -> None:
        """Of the connection, and of the pipeline that is under way on it."""
        answered, self._answered = self._answered, None
        self._drop()
        if answered is not None:
            answered(error)

    def _look_at_the_clock(self) -> None:
        """One clock for all pipelines: it is set anew when it has run down, and not for each of them."""
        self._clock = None
        if self._answered is None:
            return
        loop = asyncio.get_running_loop()
        if len(self._answers) > self._seen:  # who answers is there, however much it has to do
            self._seen, self._since = len(self._answers), loop.time()
        if (left_s := self._since + ANSWER_TIMEOUT_S - loop.time()) > 0:
            self._clock = loop.call_later(left_s, self._look_at_the_clock)
        else:
            self._end(RedisTimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s"))


class _ToCluster:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def send(self, commands: Sequence[Command], answered: Answered) -> bool:
        return False

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

    async def load(self, script: bytes) -> None:
        await self._redis.script_load(script)

    async def aclose(self) -> None:
        pass
