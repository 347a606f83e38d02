"""PURE. Playback pace: audio when there is some, silence between, a clean cut on interruption.

For clients that play what they get as it comes, and cannot take back what they have. So they are never far ahead of real
time: audio goes out at most `AHEAD_S` early, silence less, so that the first word after it comes soon. Whoever is late stays
late: the schedule moves, nothing is caught up. Time is an argument, in seconds on a clock that never goes back.

Ask `due` when `deadline` has come, or when something was fed or voided; it gives all that is to be sent at that moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")
"""Marks: what the door wants to know when all before it was sent. Here they are only carried."""

AHEAD_S = 0.2
"""The client has at most this much that it should not have played yet."""

SILENCE_AHEAD_S = 0.08
"""Of silence: two frames, so that a late frame is no gap yet."""

FRAME_S = 0.04
"""What is sent at a time, at least, once the client has something to play: smaller writes cost more than they gain."""

BYTES_PER_SAMPLE = 2

REMEMBERED_VOID = 64
"""Interrupted items whose late audio is still known to be void."""

_ROUNDING_S = 1e-6
"""Far less than a sample: a deadline in floating point must not fall before its sample."""


@dataclass(frozen=True, slots=True)
class Due(Generic[M]):
    """What is to be sent now."""

    pieces: list[bytes]
    """one after the other; of audio in packets each is one"""
    samples: int
    """in all of them"""
    mark: M | None
    """all up to and with this is sent with it"""
    heard_at: float | None = None
    """when the client has played all up to the mark"""

    @property
    def audio(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(slots=True)
class _Piece(Generic[M]):
    item: str | None
    audio: bytes
    mark: M | None


class Pacer(Generic[M]):
    """One client's stream of PCM16 mono. It begins with `now`."""

    def __init__(self, sample_rate: int, now: float) -> None:
        self.sample_rate = sample_rate
        self._ahead = round(AHEAD_S * sample_rate)
        self._silence_ahead = round(SILENCE_AHEAD_S * sample_rate)
        self._frame = round(FRAME_S * sample_rate)
        self._origin, self._origin_samples = now, 0
        """when which sample was, or is, to be played"""
        self._sent = 0
        self._queue: deque[_Piece[M]] = deque()
        self._waiting_bytes = 0
        self._void: dict[str, None] = {}
        self._last_item: str | None = None

    @property
    def waiting_bytes(self) -> int:
        """Of audio that is not sent yet."""
        return self._waiting_bytes

    @property
    def is_empty(self) -> bool:
        """Whether all that was fed is sent."""
        return not self._queue

    def feed(self, item: str, audio: bytes, mark: M | None = None) -> None:
        """More of an item: whole samples. Of one that is void only the mark counts."""
        self._last_item = item
        if item in self._void:
            audio = b""
        self._waiting_bytes += len(audio)
        self._queue.append(_Piece(item, audio, mark))

    def mark(self, mark: M) -> None:
        """Give this mark, and no longer the one before it, when all that was fed before is sent."""
        if self._queue:
            self._queue[-1].mark = mark
        else:
            self._queue.append(_Piece(None, b"", mark))

    def void(self, item: str) -> None:
        """Nobody wants to hear this item any more: not what waits of it, nor what still comes."""
        self._void[item] = None
        if len(self._void) > REMEMBERED_VOID:
            del self._void[next(iter(self._void))]
        for piece in self._queue:
            if piece.item == item:
                self._waiting_bytes -= len(piece.audio)
                piece.audio = b""

    def cut(self) -> set[str]:
        """The user speaks: nothing that was fed is wanted any more, nor the rest of the last item. Which items those are."""
        items = {piece.item for piece in self._queue if piece.item is not None and piece.audio}
        if self._last_item is not None:
            items.add(self._last_item)
        for item in items:
            self.void(item)
        return items

    def due(self, now: float) -> Due[M]:
        """What is to be sent now; nothing, when it is too early."""
        self._slip(now)
        pieces, samples, mark, marked = self._take(self._ahead - self._ahead_of(now))
        heard_at = None if mark is None else self._when_ahead_is(-marked)
        if not self._queue:
            room = self._silence_ahead - self._ahead_of(now) - samples
            silence, silent = self._silence(room) if room >= self._frame else ([], 0)
            pieces, samples = pieces + silence, samples + silent
        self._sent += samples
        return Due(pieces, samples, mark, heard_at)

    def deadline(self) -> float:
        """When to ask `due` again, if nothing is fed before; may be past."""
        if self._queue:
            if not self._queue[0].audio:
                return self._origin
            return self._when_ahead_is(self._ahead - self._frame)
        return self._when_ahead_is(self._silence_ahead - self._frame)

    def _take(self, room: int) -> tuple[list[bytes], int, M | None, int]:
        """Of what waits, at most so many samples; none when it is not worth a frame. With the samples up to the mark."""
        taken: list[bytes] = []
        samples = marked = 0
        mark: M | None = None
        room = room if room >= self._frame else 0
        while self._queue:
            piece = self._queue[0]
            audio, length = self._some(piece.audio, room - samples)
            if audio:
                taken.append(audio)
                samples += length
                self._waiting_bytes -= len(audio)
                piece.audio = piece.audio[len(audio) :]
            if piece.audio:
                break
            self._queue.popleft()
            if piece.mark is not None:
                mark, marked = piece.mark, samples
        return taken, samples, mark, marked

    def _some(self, audio: bytes, room: int) -> tuple[bytes, int]:
        """What of it goes into so many samples, and how many it is."""
        some = audio[: BYTES_PER_SAMPLE * room]
        return some, len(some) // BYTES_PER_SAMPLE

    def _silence(self, samples: int) -> tuple[list[bytes], int]:
        """As nearly so much as it can be had, and not more."""
        return [bytes(BYTES_PER_SAMPLE * samples)], samples

    def _slip(self, now: float) -> None:
        """The client has run dry: what comes now is played now."""
        if self._ahead_of(now) < 0:
            self._origin, self._origin_samples = now, self._sent

    def _ahead_of(self, now: float) -> int:
        """Samples that are sent and not played yet."""
        return self._sent - self._origin_samples - int((now - self._origin) * self.sample_rate)

    def _when_ahead_is(self, samples: int) -> float:
        return self._origin + (self._sent - self._origin_samples - samples) / self.sample_rate + _ROUNDING_S
