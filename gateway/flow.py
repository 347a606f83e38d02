"""Nothing more is written to a paced client while too much is under way to it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.errors import SlowClient
from gateway.in_flight import InFlight

IN_FLIGHT_S = 0.5
"""Of audio that was written and has not reached the client's machine: above it nothing is written."""

LOOK_EVERY_S = 0.05
"""While too much is in flight."""


class Outgoing(Protocol):
    """What is written to."""

    send_timeout_s: float

    @property
    def written(self) -> int:
        """Bytes that were written."""

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine."""

    @property
    def is_unreachable(self) -> bool:
        """Whether the other machine acknowledges nothing: its network is away."""


class Flow:
    """Of one connection."""

    def __init__(self, wire: Outgoing) -> None:
        self._wire, self._in_flight = wire, InFlight()

    def wrote(self, plays_s: float) -> None:
        """The last that was written plays for so long."""
        self._in_flight.wrote(self._wire.written, plays_s)

    async def settled(self) -> None:
        """Wait while too much is in flight. Raises SlowClient when nothing of it arrives for the send timeout, though the
        other machine answers. While its network is away nothing is lost by waiting: what was sent arrives with it."""
        now = asyncio.get_running_loop().time
        least, since = self._wire.unacknowledged, now()
        while self._in_flight.seconds(self._wire.written - (unsent := self._wire.unacknowledged)) > IN_FLIGHT_S:
            if unsent < least:
                least, since = unsent, now()
            elif now() - since > self._wire.send_timeout_s:
                if not self._wire.is_unreachable:
                    raise SlowClient
                since = now()
            await asyncio.sleep(LOOK_EVERY_S)
