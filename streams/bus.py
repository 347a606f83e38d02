"""One pub/sub connection a process: the messages that the append script publishes.

The bus promises nothing: a message may be lost when the connection drops. Readers therefore look at the ids (see
`streams.consumer`), and after a reconnect each reads its stream.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

RECONNECT_AFTER_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses between tries to reach the server again; the last one repeats."""


class Listener(Protocol):
    """Hears a channel. Both calls come from the bus's own task and must not block."""

    def heard(self, data: bytes) -> None:
        """A message of the channel."""

    def missed(self) -> None:
        """The bus was away; messages may be lost."""


class Bus:
    """Use as an async context manager.

    Channels are sharded ones (SSUBSCRIBE), as `append.lua` wants it.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pubsub: PubSub | None = None
        self._listeners: dict[bytes, set[Listener]] = {}
        self._subscribed: set[bytes] = set()
        """channels that this connection has asked for"""
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bus:
        self._task = asyncio.create_task(self._run(), name="streams.bus")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._disconnect()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Hear `channel` from now on: what is published after this returns is heard, or `missed` is called."""
        name = channel.encode()
        self._listeners.setdefault(name, set()).add(listener)
        confirmed = self._confirmed.setdefault(name, asyncio.Event())
        try:
            await self._ask(name)
            await confirmed.wait()
        except asyncio.CancelledError:
            await self.unsubscribe(channel, listener)
            raise

    async def unsubscribe(self, channel: str, listener: Listener) -> None:
        """No more of this channel."""
        name = channel.encode()
        listeners = self._listeners.get(name, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(name, None)
            self._confirmed.pop(name, None)
            await self._ask(name)

    def hearing(self, channel: str) -> int:
        """How many listeners of this process hear the channel."""
        return len(self._listeners.get(channel.encode(), ()))

    async def _ask(self, name: bytes) -> None:
        """Make the server's idea of this channel the same as ours. While the bus is away, the reconnect does it."""
        async with self._asking:
            wanted, pubsub = name in self._listeners, self._pubsub
            if pubsub is None or wanted == (name in self._subscribed):
                return
            try:
                if wanted:
                    self._subscribed.add(name)
                    await pubsub.ssubscribe(name)
                else:
                    self._subscribed.discard(name)
                    await pubsub.sunsubscribe(name)
            except (RedisError, OSError):
                logger.debug("the bus is away", exc_info=True)

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                await self._connect()
                tries = 0
                await self._listen()
            except (RedisError, OSError) as error:
                pause = RECONNECT_AFTER_S[min(tries, len(RECONNECT_AFTER_S) - 1)]
                tries += 1
                logger.warning("the bus lost Redis (%s); again in %.2f s", str(error) or type(error).__name__, pause)
                await self._disconnect()
                await asyncio.sleep(pause)

    async def _connect(self) -> None:
        pubsub = self._redis.pubsub(push_handler_func=_as_it_came)
        try:
            await pubsub.connect()
            async with self._asking:
                self._pubsub = pubsub
                self._subscribed = set(self._listeners)
                if self._subscribed:
                    await pubsub.ssubscribe(*self._subscribed)
        except BaseException:  # also when the process stops just now: nobody else knows of this connection yet
            if self._pubsub is not pubsub:
                await pubsub.aclose()
            raise

    async def _disconnect(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        self._subscribed = set()
        for confirmed in self._confirmed.values():
            confirmed.clear()
        if pubsub is not None:
            await pubsub.aclose()

    async def _listen(self) -> None:
        pubsub = self._pubsub
        assert pubsub is not None
        while True:
            message = await pubsub.parse_response(block=True)
            if message[0] == b"smessage":
                for listener in tuple(self._listeners.get(message[1], ())):
                    self._tell(listener, message[1], message[2])
            else:
                await pubsub.handle_message(message)
                if message[0] == b"ssubscribe":
                    self._is_subscribed(message[1])

    def _tell(self, listener: Listener, channel: bytes, data: bytes) -> None:
        """A message that its listener cannot read deafens nobody: it looks for itself."""
        try:
            listener.heard(data)
        except (ValueError, TypeError, LookupError) as error:
            logger.error("a message on %s does not read: %s", channel.decode(errors="replace"), error)
            listener.missed()

    def _is_subscribed(self, name: bytes) -> None:
        confirmed = self._confirmed.get(name)
        if confirmed is not None and not confirmed.is_set():
            confirmed.set()
            for listener in tuple(self._listeners.get(name, ())):
                listener.missed()  # all before this moment may have been: the listener reads its stream


async def _as_it_came(response: Any) -> Any:
    """redis-py's own handler of pushes writes each one, audio and all, into a debug line: 6 % of a busy service's time."""
    return response
