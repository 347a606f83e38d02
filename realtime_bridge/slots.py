"""So many do something at a time; whoever is due goes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count


class Slots:
    """Of those that are due, and then of all others, the one goes first that has come first: whoever has a `place` keeps it
    however often it needs a slot, so that one after the other is done with all it has to do, not all of them at the end."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[bool, int, int, asyncio.Future[None]]] = []
        """a heap; some may have given up"""
        self._places, self._asked = count(), count()

    def place(self) -> int:
        """The next place in the queue."""
        return next(self._places)

    @asynccontextmanager
    async def taken(self, place: int, *, due: bool) -> AsyncIterator[None]:
        """While this is open one of them is taken."""
        if self._free:
            self._free -= 1
        else:
            await self._handed_over(place, due=due)
        try:
            yield
        finally:  # not at once: whoever needs it again is in the queue by then, in its old place
            asyncio.get_running_loop().call_soon(self._hand_over)

    async def _handed_over(self, place: int, *, due: bool) -> None:
        mine = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (not due, place, next(self._asked), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # at the same moment it was handed over
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        while self._waiting:
            *_, waiting = heappop(self._waiting)
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1
