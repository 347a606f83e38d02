"""One pub/sub connection to one server: it asks for the channels that are wanted, and comes back when it is cut off."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError

from streams.taken_over import TakenOver

logger = logging.getLogger(__name__)

RECONNECT_AFTER_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses between tries to reach the server again; the last one repeats."""

PING_EVERY_S = 3.0
"""A server that leaves a ping unanswered for so long is gone: it may be stopped, and then nobody closes its connections."""


class Owner(Protocol):
    """Who hears what comes over a line. All calls come from its own task."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """A message."""

    def subscribed(self, channel: bytes) -> None:
        """From now on messages of this channel come."""

    def lost(self, line: Line) -> None:
        """All that was subscribed is not any more; the line tries again by itself."""

    def moved(self, line: Line, channel: bytes | None, slot: int | None) -> None:
        """Another server has the channel, or all channels of the slot."""


class Line:
    """Runs from `start` to `stop`. `together`: how many channels one command may name (of different slots: 1)."""

    def __init__(self, redis: Redis, owner: Owner, *, together: int) -> None:
        self.wanted: set[bytes] = set()
        """the channels that it is to be subscribed to"""
        self._redis, self._owner, self._together = redis, owner, together
        self._pubsub: PubSub | None = None
        self._subscribed: set[bytes] = set()
        """channels that this connection has asked for"""
        self._leaving: Counter[bytes] = Counter()
        """channels that it has asked to be without, and was not answered yet"""
        self._asking = asyncio.Lock()
        self._heard = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected."""
        self._task = asyncio.create_task(self._run(), name="streams.line")

    async def stop(self) -> None:
        """For good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._disconnect()

    async def ask(self, name: bytes) -> None:
        """Make the server's idea of this channel the same as ours. While it is away, the reconnect does it."""
        async with self._asking:
            pubsub = self._pubsub
            if pubsub is None or (name in self.wanted) == (name in self._subscribed):
                return
            try:
                if name in self.wanted:
                    self._subscribed.add(name)
                    await pubsub.ssubscribe(name)
                else:
                    self._subscribed.discard(name)
                    self._leaving[name] += 1
                    await pubsub.sunsubscribe(name)
            except (RedisError, OSError):
                logger.debug("the bus is away", exc_info=True)

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                await self._connect()
                tries = 0
                await self._stay()
            except (RedisError, OSError) as error:
                pause = RECONNECT_AFTER_S[min(tries, len(RECONNECT_AFTER_S) - 1)]
                tries += 1
                logger.warning("the bus lost Redis (%s); again in %.2f s", str(error) or type(error).__name__, pause)
                await self._disconnect()
                self._owner.lost(self)
                await asyncio.sleep(pause)

    async def _connect(self) -> None:
        pubsub = self._redis.pubsub(push_handler_func=_as_it_came)
        try:
            await pubsub.connect()
            # redis-py connects it once more when something cannot be sent; to subscribe then is for our own reconnect.
            cast(Any, pubsub.connection).deregister_connect_callback(pubsub.on_connect)
            async with self._asking:
                self._pubsub = pubsub
                self._subscribed = set(self.wanted)
                names = list(self._subscribed)
                for start in range(0, len(names), self._together):
                    await pubsub.ssubscribe(*names[start : start + self._together])
        except BaseException:  # also when the process stops just now: nobody else knows of this connection yet
            if self._pubsub is not pubsub:
                await pubsub.aclose()
            raise

    async def _disconnect(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        self._subscribed = set()
        self._leaving.clear()
        if pubsub is not None:
            await pubsub.aclose()

    async def _stay(self) -> None:
        """Listen until it is cut off, or until nothing is to be heard any more. Raises RedisError, OSError."""
        pubsub = self._pubsub
        assert pubsub is not None
        tasks = [asyncio.create_task(self._listen(pubsub)), asyncio.create_task(self._ask_for_life(pubsub))]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _ask_for_life(self, pubsub: PubSub) -> None:
        while True:
            heard = self._heard
            await pubsub.ping()
            await asyncio.sleep(PING_EVERY_S)
            if self._heard == heard:
                raise RedisConnectionError(f"it has not answered for {PING_EVERY_S:g} s")

    async def _listen(self, pubsub: PubSub) -> None:
        """What a session says is heard as it arrives; all else is for this task."""
        connection = pubsub.connection
        assert connection is not None
        others: asyncio.Queue[Any] = asyncio.Queue()

        def answered(message: Any) -> None:
            self._heard += 1
            if isinstance(message, list) and message[0] == b"smessage":
                self._owner.heard(message[1], message[2])
            else:
                others.put_nowait(message)

        TakenOver(connection, answered, lambda _, error: others.put_nowait(error))
        while True:
            await self._obey(pubsub, await others.get())

    async def _obey(self, pubsub: PubSub, message: Any) -> None:
        if isinstance(message, MovedError):
            self._owner.moved(self, None, message.slot_id)
        elif isinstance(message, Exception):
            raise message
        if not isinstance(message, list):
            return  # the answer to a ping
        await pubsub.handle_message(message)
        if message[0] == b"ssubscribe":
            self._owner.subscribed(message[1])
        elif message[0] == b"sunsubscribe" and self._leaving[message[1]]:
            self._leaving -= Counter((message[1],))
        elif message[0] == b"sunsubscribe":  # nobody has asked for that: the slot has moved
            self._subscribed.discard(message[1])
            self._owner.moved(self, message[1], None)


async def _as_it_came(response: Any) -> Any:
    """redis-py's own handler of pushes writes each one, audio and all, into a debug line: 6 % of a busy service's time."""
    return response
