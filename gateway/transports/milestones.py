"""Places in what was written to one client, and when they have arrived, where the client acknowledges nothing.

What has reached its machine is what was written less what still waits in our buffers and the kernel's, which forgets a byte
when the other side's TCP has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp.abc import AbstractStreamWriter

from gateway.transports.outflow import Outflow

LOOK_EVERY_S = 0.05
"""While something is to arrive."""


class Milestones:
    """Of one connection. `arrived` is called with each payload, in order, when all that was written before it is there."""

    def __init__(self, writer: AbstractStreamWriter, outflow: Outflow, arrived: Callable[[bytes], None]) -> None:
        self._writer, self._outflow, self._arrived = writer, outflow, arrived
        self._places: deque[tuple[int, bytes]] = deque()
        """in bytes of all that was written"""
        self._looking: asyncio.TimerHandle | None = None

    def put(self, payload: bytes) -> None:
        """Here, behind all that was written so far."""
        self._places.append((self._writer.output_size, payload))
        if self._looking is None:
            self._look()

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        arrived = self._writer.output_size - self._outflow.unacknowledged
        while self._places and self._places[0][0] <= arrived:
            self._arrived(self._places.popleft()[1])
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look) if self._places else None
