"""Holds an answer back to the pace of a listener who cannot take back what it has (`pace.py` says when)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.connections import Connection
from gateway.flow import Flow
from gateway.outbox import Frame, Outbox
from gateway.pace import Pace


class PacedWire(Protocol):
    """What is behind the outbox."""

    send_timeout_s: float

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine."""

    @property
    def is_unreachable(self) -> bool:
        """Whether the other machine acknowledges nothing: its network is away."""


class _Queued:
    """The outbox and what is behind it, as one."""

    def __init__(self, outbox: Outbox, wire: PacedWire) -> None:
        self._outbox, self._wire, self.send_timeout_s = outbox, wire, wire.send_timeout_s
        self.written = 0

    @property
    def unacknowledged(self) -> int:
        return self._outbox.waiting_bytes + self._wire.unacknowledged

    @property
    def is_unreachable(self) -> bool:
        return self._wire.is_unreachable


class Paced:
    """Of one connection that writes what is in its outbox at once. Made in the loop."""

    def __init__(self, connection: Connection, wire: PacedWire) -> None:
        self._connection, self._pace = connection, Pace()
        self._queued = _Queued(connection.outbox, wire)
        self._flow = Flow(self._queued)
        self._loop = asyncio.get_running_loop()
        self._waits: tuple[str, asyncio.Future[None]] | None = None

    def void(self, item: str) -> None:
        """Nobody wants to hear this item any more: what is held back of it is not said."""
        self._pace.stop(self._loop.time())
        if self._waits is not None and self._waits[0] == item and not self._waits[1].done():
            self._waits[1].set_result(None)

    async def put(self, frame: Frame, plays_s: float) -> None:
        """Queue a frame with audio of its item when it is due. Raises SlowClient."""
        item = frame.item or ""
        if not await self._is_due(item, plays_s):
            return
        await self._flow.settled()
        if item in self._connection.downlink.void:
            return
        self._pace.sent(plays_s, self._loop.time())
        await self._connection.outbox.put(frame)
        self._queued.written += len(frame.data)
        self._flow.wrote(plays_s)

    async def _is_due(self, item: str, plays_s: float) -> bool:
        """Waits for it. False when nobody wants to hear it any more."""
        when = self._pace.due(plays_s)
        if when > self._loop.time():
            self._waits = item, self._loop.create_future()
            try:
                async with asyncio.timeout_at(when):
                    await self._waits[1]
                return False
            except TimeoutError:
                pass
            finally:
                self._waits = None
        return item not in self._connection.downlink.void
