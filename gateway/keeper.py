"""Has every connection of this process renew its hold on its session, a few at a time.

One clock for all: a task with a timer for each of ten thousand clients who say nothing, and a round trip to Redis for each
of them, took a whole core. What is asked in one turn of the loop goes out as one pipeline (`streams.writer`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from streams.attach import ATTACH_RENEW_S

logger = logging.getLogger(__name__)

SLOTS = 60
"""Turns of ATTACH_RENEW_S: of ten thousand 167 come in each, a millisecond or two."""


class Holder(Protocol):
    """A connection that has a session."""

    def keep(self) -> None:
        """It is time to renew. Must not block."""


class Keeper:
    """One process's. It runs while there is somebody."""

    def __init__(self) -> None:
        self._slots: list[set[Holder]] = [set() for _ in range(SLOTS)]
        self._task: asyncio.Task[None] | None = None

    def join(self, holder: Holder) -> None:
        """Call its `keep` every ATTACH_RENEW_S from now on, the first time by then."""
        min(self._slots, key=len).add(holder)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="gateway.keeper")

    def leave(self, holder: Holder) -> None:
        for slot in self._slots:
            slot.discard(holder)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due, turn = loop.time(), 0
        try:
            while any(self._slots):
                # After a pause nothing is made up for: whoever is late is asked in turn.
                due = max(due + ATTACH_RENEW_S / SLOTS, loop.time())
                await asyncio.sleep(due - loop.time())
                for holder in tuple(self._slots[turn % SLOTS]):
                    try:
                        holder.keep()
                    except Exception:  # a fault of ours in one connection's must not let go of all others
                        logger.exception("a connection's hold on its session is not renewed")
                turn += 1
        finally:
            self._task = None
