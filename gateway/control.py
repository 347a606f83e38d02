"""The words on a session's control channel: from workers and other gateways to the connection that has the session."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streams.attach import read_control
from streams.waiting import Queue

MAX_CONTROL_WORDS = 64
"""Said on a control channel and not yet heeded. A connection hears a handful in its life."""


class Control:
    """What is said on a session's control channel, in order, to the connection that has it."""

    def __init__(self) -> None:
        self._said: Queue[tuple[str, str]] = Queue(MAX_CONTROL_WORDS)

    def heard(self, data: bytes) -> None:
        """From the bus."""
        self._put(*read_control(data))

    def missed(self) -> None:
        """From the bus: something may have been said while it was away."""
        self._put("missed", "")

    def answered(self, nonce: str) -> None:
        """The client has answered a probe."""
        self._put("answered", nonce)

    def _put(self, what: str, argument: str) -> None:
        with suppress(asyncio.QueueFull):  # whoever asks asks again; who is replaced learns it by the next renewal
            self._said.put_nowait((what, argument))

    async def next(self) -> tuple[str, str]:
        """(what, its argument)"""
        return await self._said.get()
