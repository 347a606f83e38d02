"""❽ Writes what the pacer says is due, when it is due, to a client that plays what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.connections import Connection
from gateway.flow import Flow, Outgoing
from gateway.outbox import Frame
from gateway.pacer import Due, Pacer
from streams.ids import EntryId

ROOM_BYTES = 4 << 20
"""Of audio that waits to be played, above which `down` is read no further: a minute and a half. An interruption is found by
reading on, so that this is far more than other doors need."""

CODED_ROOM_BYTES = 512 << 10
"""The same of packets: two minutes of AAC."""


class PacedWire(Outgoing, Protocol):
    """What a player writes to."""

    async def write(self, frame: Frame) -> None:
        """Raises SlowClient, ClientLeft."""


class Player:
    """One client's. Made in the loop; `play` is the `sender` of its connection."""

    def __init__(
        self,
        wire: PacedWire,
        pacer: Pacer[EntryId],
        packed: Callable[[Due[EntryId]], bytes] = lambda due: due.audio,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        """`packed`: what is written for what is due. `room_bytes`: that may wait."""
        self._wire, self._pacer, self._packed, self._room_bytes = wire, pacer, packed, room_bytes
        self._loop = asyncio.get_running_loop()
        self._flow = Flow(wire)
        self._alarm: asyncio.Future[None] | None = None
        self._alarm_at = 0.0
        self._room = asyncio.Event()
        self._played = asyncio.Event()
        self._room.set()
        self._played.set()

    def feed(self, item: str, audio: bytes, entry: EntryId | None = None) -> None:
        """Have this played behind all that waits: whole samples, or a packet; with an `entry` it is the last of that."""
        self._pacer.feed(item, audio, entry)
        self._fed()

    def mark(self, entry: EntryId) -> None:
        """The entry is told when all that waits is."""
        self._pacer.mark(entry)
        self._fed()

    def void(self, item: str) -> None:
        """No more of this item is played."""
        self._pacer.void(item)
        self._ring()

    def cut(self) -> set[str]:
        """Nothing that waits is played; which items that was."""
        items = self._pacer.cut()
        self._ring()
        return items

    async def has_room(self) -> None:
        """Wait until more may be fed."""
        await self._room.wait()

    async def has_played(self) -> None:
        """Wait until all that was fed is written."""
        await self._played.wait()

    async def play(self, connection: Connection) -> None:
        """Write until cancelled. Raises SlowClient, ClientLeft."""
        pacer = self._pacer
        while True:
            await self._until(pacer.deadline())
            await self._flow.settled()
            due = pacer.due(self._loop.time())
            data = self._packed(due)
            if data:
                await self._wire.write(Frame("audio", data))
                self._flow.wrote(due.samples / pacer.sample_rate)
            if due.mark is not None:
                await connection.wrote(Frame("audio", data, entry=due.mark), due.heard_at)
            if pacer.waiting_bytes < self._room_bytes:
                self._room.set()
            if pacer.is_empty:
                self._played.set()

    def _fed(self) -> None:
        self._played.clear()
        if self._pacer.waiting_bytes >= self._room_bytes:
            self._room.clear()
        self._ring()

    def _ring(self) -> None:
        if self._alarm is not None and self._pacer.deadline() < self._alarm_at:
            _wake(self._alarm)

    async def _until(self, when: float) -> None:
        """Sleep, or be rung."""
        if when <= self._loop.time():
            return
        self._alarm, self._alarm_at = self._loop.create_future(), when
        timer = self._loop.call_at(when, _wake, self._alarm)
        try:
            await self._alarm
        finally:
            timer.cancel()
            self._alarm = None


def _wake(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)
