"""What waits to be sent to one client: a bounded queue between those who speak and the one task that sends."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from gateway.errors import SlowClient
from streams.ids import EntryId
from streams.waiting import Event

FULL_BYTES = 64 << 10
"""Whoever carries the answer waits while this much is waiting here: about a second of speech in base64, or some 20 s of
Opus. What has not been
taken from the stream yet costs nothing, and an interruption overtakes it."""

REPLIES_BYTES = 256 << 10
"""Of replies that may wait. A client that goes on asking without reading is cut off."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, encoded."""

    kind: str
    """its type, for the count"""
    data: bytes
    item: str | None = None
    """the item whose audio it is: an interruption voids it while it waits"""
    entry: EntryId | None = None
    """the entry of `down` that is said when this is written"""
    event: str | None = None
    """its name, where frames are named (Server-Sent Events); else its kind is"""
    is_binary: bool = False
    """on a WebSocket, whose frames else are text"""
    prefix: str = ""
    """stands before the entry where that is told as an id"""


class Outbox:
    """Frames in order. Many put, one gets."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Frame, bool]] = deque()
        """and whether it is a reply"""
        self._bytes = 0
        self._reply_bytes = 0
        self._changed = Event()
        """something to get"""
        self._room = Event()
        self._room.set()
        self._end: Exception | None = None
        self._held = False

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    async def put(self, frame: Frame) -> None:
        """Queue a part of the answer, when there is room."""
        await self._room.wait()
        self._add(frame, reply=False)

    def reply(self, frame: Frame) -> None:
        """Queue a reply at once. Raises SlowClient when too many wait."""
        if self._reply_bytes + len(frame.data) > REPLIES_BYTES:
            raise SlowClient
        self._add(frame, reply=True)

    async def get(self) -> Frame:
        """The next frame, when there is one. Raises what `finish` or `fail` was given."""
        while not self._waiting or self._held:
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        frame, reply = self._waiting.popleft()
        self._count(-len(frame.data), reply)
        return frame

    def void(self, item: str) -> None:
        """Drop the audio of this item that still waits."""
        kept: deque[tuple[Frame, bool]] = deque()
        for frame, reply in self._waiting:
            if frame.item != item:
                kept.append((frame, reply))
                continue
            self._count(-len(frame.data), reply)
            if frame.entry is not None and kept:  # what comes before it is still to be written
                before, before_is_reply = kept.pop()
                kept.append((replace(before, entry=frame.entry), before_is_reply))
        self._waiting = kept

    def mark(self, entry: EntryId) -> bool:
        """All that this entry of `down` has to say was put. Whether something of it, or before it, still waits."""
        if not self._waiting:
            return False
        frame, reply = self._waiting[-1]
        if frame.entry != entry:
            self._waiting[-1] = (replace(frame, entry=entry), reply)
        return True

    def rest(self) -> list[Frame]:
        """What still waits, taken out: for when nobody gets any more."""
        rest = [frame for frame, _ in self._waiting]
        self._waiting.clear()
        self._bytes = self._reply_bytes = 0
        self._room.set()
        return rest

    def hold(self) -> None:
        """Give nothing more, until `finish` or `fail`: it stays in Redis, for the next connection."""
        self._held = True

    def finish(self, error: Exception) -> None:
        """Nothing comes after what is here: then `get` raises `error`."""
        if self._end is None:
            self._end = error
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """`get` raises `error` now; what is here is dropped."""
        self._waiting.clear()
        self.finish(error)

    def _add(self, frame: Frame, *, reply: bool) -> None:
        self._waiting.append((frame, reply))
        self._count(len(frame.data), reply)
        self._changed.set()

    def _count(self, size: int, reply: bool) -> None:
        self._bytes += size
        if reply:
            self._reply_bytes += size
        if self._bytes < FULL_BYTES:
            self._room.set()
        else:
            self._room.clear()
