"""PURE. Frames of speech that know which they are: session and number stand in the first samples of each.

    ┌───────┬─────────┬────────┬──────────────────────────────┐
    │ magic │ session │ number │ filling, the same every time │   960 bytes = 20 ms of PCM16 at 24 kHz; in the bench 1,920
    └───────┴─────────┴────────┴──────────────────────────────┘
      4 B     4 B       4 B

960, 1,920 and 12 are multiples of three, so in base64 the head and the filling stand side by side, and a frame that comes
back as it went out is known by comparing text: the client stays cheap beside what it measures.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import pybase64

BYTES_PER_S = 48_000
"""PCM16 mono at 24 kHz"""

_MAGIC = b"\x7fPa\x01"
_HEAD = struct.Struct("<4sII")
_HEAD_CHARS = _HEAD.size // 3 * 4


class Frame(NamedTuple):
    """Which one it is."""

    session: int
    number: int


@dataclass(frozen=True)
class Coding:
    """Frames of one length."""

    filling: bytes
    text: bytes
    """the filling in base64"""

    @classmethod
    def of(cls, frame_bytes: int) -> Coding:
        filling = Random(24_000).randbytes(frame_bytes - _HEAD.size)
        return cls(filling, pybase64.b64encode(filling))

    @property
    def frame_bytes(self) -> int:
        return _HEAD.size + len(self.filling)

    @property
    def frame_s(self) -> float:
        return self.frame_bytes / BYTES_PER_S

    def speech(self, session: int, first: int, count: int) -> bytes:
        """So many frames from this number on."""
        return b"".join(_HEAD.pack(_MAGIC, session, number) + self.filling for number in range(first, first + count))

    def append_event(self, session: int, number: int) -> bytes:
        """The client event that says this frame."""
        head = pybase64.b64encode(_HEAD.pack(_MAGIC, session, number))
        return b'{"type":"input_audio_buffer.append","audio":"' + head + self.text + b'"}'


TALK = Coding.of(960)
"""Every 20 ms names its session and its place."""


def delta_of(event: bytes) -> bytes | None:
    """The base64 of a `response.output_audio.delta`, in whatever order its fields stand; None for another event."""
    if b'"response.output_audio.delta"' not in event:
        return None
    opened = event.index(b'"', event.index(b'"delta":') + len(b'"delta":')) + 1
    return event[opened : event.index(b'"', opened)]


class FrameReader:
    """PCM in, cut anywhere; whole frames out. Silence between two frames is nothing; whatever else is there is damage."""

    def __init__(self, coding: Coding = TALK) -> None:
        self.broken = 0
        """places where something else stood than a frame or silence"""
        self._coding, self._rest, self._damaged = coding, b"", False

    def feed(self, pcm: bytes) -> list[Frame]:
        """The frames that are whole with this."""
        data, frames, at = self._rest + pcm, list[Frame](), 0
        filling, size = self._coding.filling, self._coding.frame_bytes
        while True:
            found = data.find(_MAGIC, at)
            self._look_at(data[at : found if found >= 0 else max(at, len(data) - len(_MAGIC) + 1)])
            if found < 0:
                self._rest = data[max(at, len(data) - len(_MAGIC) + 1) :]
                return frames
            if len(data) - found < size and data[found + _HEAD.size :] == filling[: max(0, len(data) - found - _HEAD.size)]:
                self._rest = data[found:]
                return frames
            if data.startswith(filling, found + _HEAD.size):
                _, session, number = _HEAD.unpack_from(data, found)
                frames.append(Frame(session, number))
                self._damaged, at = False, found + size
            else:  # it breaks off; what comes then begins at the next magic
                self._damage()
                at = found + len(_MAGIC)

    @property
    def is_within(self) -> bool:
        """A frame has begun."""
        return bool(self._rest)

    def finish(self) -> None:
        """Nothing more comes: a frame that has begun is damage."""
        self._look_at(self._rest)
        self._rest = b""

    def _look_at(self, between: bytes) -> None:
        if between.strip(b"\0"):
            self._damage()

    def _damage(self) -> None:
        self.broken += not self._damaged
        self._damaged = True


class Echoes:
    """What comes back to one session: deltas in, numbers of whole frames out. A delta may end anywhere in a frame."""

    def __init__(self, session: int, coding: Coding) -> None:
        self.session = session
        self.seen: Counter[int] = Counter()
        """how often each frame has come"""
        self.foreign = 0
        """frames of other sessions: there must be none"""
        self._coding, self._reader = coding, FrameReader(coding)

    @property
    def broken(self) -> int:
        """places where something else stood than a frame"""
        return self._reader.broken

    def feed(self, delta: bytes) -> list[int]:
        """The frames that are whole with this delta."""
        coding = self._coding
        if not self._reader.is_within and len(delta) == _HEAD_CHARS + len(coding.text) and delta.endswith(coding.text):
            magic, session, number = _HEAD.unpack(pybase64.b64decode(delta[:_HEAD_CHARS]))
            if magic == _MAGIC:
                return self._take([Frame(session, number)])
        return self._take(self._reader.feed(pybase64.b64decode(delta)))

    def lost(self, sent: int) -> int:
        """Of the frames 0 … `sent` - 1."""
        return sum(number not in self.seen for number in range(sent))

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.seen.values())

    def _take(self, frames: list[Frame]) -> list[int]:
        ours = [number for session, number in frames if session == self.session]
        self.foreign += len(frames) - len(ours)
        self.seen.update(ours)
        return ours
