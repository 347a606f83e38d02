"""`Event` and `Queue` as asyncio has them, for what exists once or more for each session.

asyncio's keep a deque for those who may wait, and that takes 700 bytes: of ten thousand clients who say nothing, a hundred
megabytes. These have room only for who waits, and for what is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Event:
    """Set or not; may be waited for. Of one loop."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Whoever waits goes on, and nobody waits until `clear`."""
        if not self._is_set:
            self._is_set = True
            for future in self._waiting or ():
                if not future.done():
                    future.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Until it is set."""
        if self._is_set:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)
            if not self._waiting:
                self._waiting = None


class Queue(Generic[T]):
    """First in, first out, at most so many; one gets."""

    __slots__ = ("_changed", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[T] | None = None
        self._changed = Event()

    def full(self) -> bool:
        return self._waiting is not None and len(self._waiting) >= self._limit

    def put_nowait(self, what: T) -> None:
        """Raises asyncio.QueueFull."""
        if self.full():
            raise asyncio.QueueFull
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(what)
        self._changed.set()

    async def get(self) -> T:
        """The next, when there is one."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        what = self._waiting.popleft()
        if not self._waiting:
            self._waiting = None
        return what
