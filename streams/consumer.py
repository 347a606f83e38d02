"""Read one stream live: entries as the bus brings them, holes filled from the stream itself, each entry once and in order.

A message carries the id of the entry before it. A reader whose last id is below that has missed something and reads the
stream; one that is at or past the message's own id has it already. So the bus may lose and repeat as it likes, and an
idle session costs Redis nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.bus import Bus
from streams.codec import Decoder, stamps
from streams.errors import MalformedEntry, Over, StreamUnavailable
from streams.ids import ZERO, EntryId
from streams.messages import Message
from streams.waiting import Event

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_Page = list[tuple[bytes, dict[bytes, bytes]]]

PAGE = 128
"""Entries a read of the stream asks for at once."""

MAX_HEARD = 256
"""Messages kept for a slow reader. What comes on top is dropped here and read from the stream later: a bound, not a loss."""

READ_AGAIN_AFTER_S = (0.05, 0.1, 0.25, 0.5, 1.0)
GIVE_UP_AFTER_S = 30.0


class Entry(NamedTuple, Generic[M]):
    """What a stream holds under an id."""

    id: EntryId
    message: M
    at_ms: int = 0
    """when it was stored, by the server's clock; known only where a session may be recorded (`streams.heard`)"""


async def read(
    redis: Redis,
    stream: str,
    decoder: Decoder[M],
    *,
    after: EntryId = ZERO,
    upto: EntryId | None = None,
    count: int | None = None,
) -> list[Entry[M]]:
    """The entries behind `after`, up to and with `upto`, at most `count`: once, as they are now.

    An entry that does not read is logged and passed over, as a Consumer does. Raises StreamUnavailable.
    """
    try:
        page = await redis.xrange(stream, min=f"({after}", max="+" if upto is None else str(upto), count=count)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    entries = (_decode(stream, decoder, EntryId.parse(entry_id), fields) for entry_id, fields in cast(_Page, page))
    return [entry for entry in entries if entry is not None]


async def read_back(
    redis: Redis, stream: str, decoder: Decoder[M], *, upto: EntryId | None = None, count: int
) -> list[Entry[M]]:
    """The last `count` entries up to and with `upto`, oldest first: once, as they are now.

    What does not read is passed over. Raises StreamUnavailable.
    """
    try:
        page = await redis.xrevrange(stream, max="+" if upto is None else str(upto), count=count)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    entries = (_decode(stream, decoder, EntryId.parse(entry_id), fields) for entry_id, fields in reversed(cast(_Page, page)))
    return [entry for entry in entries if entry is not None]


async def last_id(redis: Redis, stream: str) -> EntryId | None:
    """Of the last entry; None when the stream is gone. Raises StreamUnavailable."""
    try:
        page = cast(_Page, await redis.xrevrange(stream, count=1))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    return EntryId.parse(page[0][0]) if page else None


def _decode(stream: str, decoder: Decoder[M], entry_id: EntryId, fields: dict[bytes, bytes]) -> Entry[M] | None:
    try:
        at = fields.get(b"at", b"")
        return Entry(entry_id, decoder.decode(fields), int(at) if at.isdigit() else 0)
    except MalformedEntry as error:
        logger.error("%s %s is passed over: %s", stream, entry_id, error)
        return None


class Consumer(Generic[M]):
    """Reads one stream from behind the id `after`. Iterate over it inside its context.

    ```
    async with Consumer(redis, bus, keys.down, down_decoder, after=cursor) as entries:
        async for entry in entries: ...
    ```
    Iteration raises Over when the stream is gone, StreamUnavailable when the server stays away for 30 s. An entry that
    cannot be read (MalformedEntry) is logged and passed over: it must not end the session of whoever wrote the others.
    """

    def __init__(self, redis: Redis, bus: Bus, stream: str, decoder: Decoder[M], *, after: EntryId = ZERO) -> None:
        self.stream = stream
        self.last = after
        """the id up to which entries have been given out"""
        self.reads = 0
        """how often the stream itself was read: before what comes from a read there may be a hole, where it was trimmed"""
        self.since_us = 0
        """when the last entry that was given out was said, by its writer's clock: microseconds since 1970, 0: unknown"""
        self.on_wait: Callable[[float], None] | None = None
        """called with how long each entry has waited, in seconds by two machines' clocks. Of those that have come since this
        reader had all that was there before it: that had waited for a reader, and not in a queue"""
        self._has_caught_up = False
        self._redis, self._bus, self._decoder = redis, bus, decoder
        self._heard: deque[list[Any]] = deque()
        self._behind = True
        """there may be entries that no message has brought"""
        self._wake = Event()
        self._is_left = False

    def leave(self) -> None:
        """End the iteration where it would wait for the next entry. Another one goes on there."""
        self._is_left = True
        self._wake.set()

    async def __aenter__(self) -> Consumer[M]:
        await self._bus.subscribe(self.stream, self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bus.unsubscribe(self.stream, self)

    def heard(self, data: bytes) -> None:
        if not data:  # the stream is gone, or something else is to be looked at
            self.missed()
        elif len(self._heard) >= MAX_HEARD:
            self._heard.clear()
            self._behind = True
        elif not self._behind:
            self._heard.append(msgpack.unpackb(data, raw=True))
        self._wake.set()

    def missed(self) -> None:
        self._heard.clear()
        self._behind = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Entry[M]]:
        self._behind = True  # an earlier iteration may have ended in the middle of a page
        while True:
            if self._behind:
                # Lowered before the read: what is said meanwhile is kept, and what the read has seen too is known by its id.
                self._behind = False
                page = await self._read()
                self._behind = self._behind or len(page) == PAGE
                for entry_id, fields in page:
                    if (entry := self._accept(EntryId.parse(entry_id), fields)) is not None:
                        yield entry
                self._has_caught_up = self._has_caught_up or not self._behind
            elif self._heard:
                for entry in self._take(self._heard.popleft()):
                    yield entry
            elif self._is_left:
                self._is_left = False
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self, message: list[Any]) -> list[Entry[M]]:
        try:
            entry_id, before = EntryId.parse(message[0]), EntryId.parse(message[1])
        except (ValueError, TypeError, LookupError, AttributeError):
            self.missed()  # not what the append script says: look for ourselves
            return []
        if entry_id <= self.last:
            return []
        if self.last < before or len(message) < 3:
            self._behind = True
            self._heard.clear()
            return []
        flat = message[2]
        entry = self._accept(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)))
        return [entry] if entry is not None else []

    def _accept(self, entry_id: EntryId, fields: dict[bytes, bytes]) -> Entry[M] | None:
        if entry_id <= self.last:
            return None
        self.last = entry_id
        at_us, self.since_us = stamps(fields)
        if self.on_wait is not None and at_us and self._has_caught_up:
            self.on_wait(time.time() - at_us / 1_000_000)
        return _decode(self.stream, self._decoder, entry_id, fields)

    async def _read(self) -> _Page:
        loop = asyncio.get_running_loop()
        since, tries = loop.time(), 0
        self.reads += 1
        while True:
            try:
                page = cast(_Page, await self._redis.xrange(self.stream, min=f"({self.last}", count=PAGE))
                if not page and not await self._redis.exists(self.stream):
                    raise Over(self.stream)
                return page
            except (RedisError, OSError) as error:
                if loop.time() - since > GIVE_UP_AFTER_S:
                    raise StreamUnavailable(f"{self.stream}: {error}") from error
                pause = READ_AGAIN_AFTER_S[min(tries, len(READ_AGAIN_AFTER_S) - 1)]
                tries += 1
                await asyncio.sleep(pause)
