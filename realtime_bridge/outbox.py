"""What waits to go up one upstream socket: a single writer, in order, with a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

ROOM_BYTES = 4 << 20
"""Past it, nothing more is read from the client's stream until the socket has taken some. Some 80 s of speech as base64."""


class Outbox(Generic[T]):
    """Items in order. `put` never waits (the model's own events must get through); who reads for it waits for `room`."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, item: T, size: int) -> None:
        """Queue an item of about this many bytes."""
        self._items.append((item, size))
        self._bytes += size
        self._filled.set()
        if self._bytes > ROOM_BYTES:
            self._has_room.clear()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    async def room(self) -> None:
        """Wait until there is room for more of what the client says."""
        await self._has_room.wait()

    async def get(self) -> T:
        """The next item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item, size = self._items.popleft()
        self._bytes -= size
        if self._bytes <= ROOM_BYTES:
            self._has_room.set()
        return item
