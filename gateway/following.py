"""Finds out what has arrived at a connection's client, and keeps it: another connection goes on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.arrivals import KEEP_AGAIN_S, KEEP_EVERY_S, PING_EVERY_S, Arrivals
from streams.ids import EntryId
from streams.waiting import Event


class Following:
    """One connection's. `ping`: asks the client; `keep`: writes down what has arrived, and says whether it could."""

    def __init__(
        self, arrivals: Arrivals, ping: Callable[[bytes], Awaitable[None]], keep: Callable[[EntryId], Awaitable[bool]]
    ) -> None:
        self._arrivals, self._ping, self._keep = arrivals, ping, keep
        self._news = Event()
        """there is something to ask, or to keep"""
        self._answered = Event()
        self._next_ping = 0.0
        """when it is time to ask again"""
        self._next_try = 0.0
        """when it may be kept again, after it could not be"""

    def wrote(self, entry: EntryId, size: int = 0) -> bool:
        """The last frame of this entry was written, so many bytes. Whether it is time to `ask` at once."""
        self._news.set()
        return self._arrivals.wrote(entry, size)

    def confirmed(self, entry: EntryId) -> None:
        """The client itself says what has arrived; from now on nothing else counts."""
        if self._arrivals.confirm(entry):
            self._news.set()
            self._answered.set()

    def pong(self, payload: bytes) -> bool:
        """Whether a pong says what has arrived."""
        if not self._arrivals.pong(payload):
            return False
        self._news.set()
        self._answered.set()
        return True

    async def ask(self) -> None:
        """What has arrived, if that is not known."""
        if (payload := self._arrivals.ping()) is not None:
            self._next_ping = asyncio.get_running_loop().time() + PING_EVERY_S
            await self._ping(payload)

    async def all_has_arrived(self) -> None:
        """That was written. Ends by being cancelled, or not at all, if the client does not answer."""
        await self.ask()
        while self._arrivals.arrived < self._arrivals.written:
            self._answered.clear()
            await self._answered.wait()

    async def run(self) -> None:
        """Ask, at most four times a second and only while there is something to ask, what has arrived; and keep it.

        As soon as it is known, at most ten times a second: what is not kept is heard again when this process dies.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            until = loop.time() + KEEP_EVERY_S
            if loop.time() >= self._next_ping:
                await self.ask()
            if self._arrivals.is_asked:
                await self._answer(until)
            if loop.time() >= self._next_try and not await self.keep():
                self._next_try = loop.time() + KEEP_AGAIN_S
            await asyncio.sleep(until - loop.time())
            if self._arrivals.is_unasked or self._arrivals.unkept is not None:
                self._news.set()

    async def keep(self) -> bool:
        """What has arrived is written down, if it is not. Whether it is now."""
        if (arrived := self._arrivals.unkept) is None:
            return True
        if is_kept := await self._keep(arrived):
            self._arrivals.kept(arrived)
        return is_kept

    async def _answer(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._arrivals.is_asked:
                    self._answered.clear()
                    await self._answered.wait()
