"""PURE. Frames of speech that know which they are: session and number stand in the first samples of each.

    ┌───────┬─────────┬────────┬──────────────────────────────┐
    │ magic │ session │ number │ filling, the same every time │   1,920 bytes = 40 ms of PCM16 at 24 kHz
    └───────┴─────────┴────────┴──────────────────────────────┘
      4 B     4 B       4 B

1,920 and 12 are multiples of three, so in base64 the head and the filling stand side by side, and a frame that comes back
as it went out is known by comparing text: the client stays cheap beside what it measures.
"""

from __future__ import annotations

import struct
from collections import Counter
from random import Random

import pybase64

FRAME_BYTES = 1920
FRAME_S = 0.04

_MAGIC = b"\x7fPa\x01"
_HEAD = struct.Struct("<4sII")
_HEAD_CHARS = _HEAD.size // 3 * 4
_FILLING = Random(24_000).randbytes(FRAME_BYTES - _HEAD.size)
_FILLING_TEXT = pybase64.b64encode(_FILLING)
_FRAME_CHARS = _HEAD_CHARS + len(_FILLING_TEXT)

_EVENT = (b'{"type":"input_audio_buffer.append","audio":"', _FILLING_TEXT + b'"}')


def append_event(session: int, number: int) -> bytes:
    """The client event that says this frame."""
    return _EVENT[0] + pybase64.b64encode(_HEAD.pack(_MAGIC, session, number)) + _EVENT[1]


def delta_of(event: bytes) -> bytes | None:
    """The base64 of a `response.output_audio.delta`, in whatever order its fields stand; None for another event."""
    if b'"response.output_audio.delta"' not in event:
        return None
    opened = event.index(b'"', event.index(b'"delta":') + len(b'"delta":')) + 1
    return event[opened : event.index(b'"', opened)]


class Echoes:
    """What comes back to one session: deltas in, numbers of whole frames out. A delta may end anywhere in a frame."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.seen: Counter[int] = Counter()
        """how often each frame has come"""
        self.foreign = 0
        """frames of other sessions: there must be none"""
        self.broken = 0
        """places where something else stood than a frame"""
        self._rest = b""

    def feed(self, delta: bytes) -> list[int]:
        """The frames that are whole with this delta."""
        if not self._rest and len(delta) == _FRAME_CHARS and delta.endswith(_FILLING_TEXT):
            return self._take(pybase64.b64decode(delta[:_HEAD_CHARS]))
        data, numbers = self._rest + pybase64.b64decode(delta), []
        at = 0
        while len(data) - at >= FRAME_BYTES:
            if data.startswith(_MAGIC, at) and data.startswith(_FILLING, at + _HEAD.size):
                numbers += self._take(data[at : at + _HEAD.size])
                at += FRAME_BYTES
            else:
                self.broken += 1
                found = data.find(_MAGIC, at + 1)
                at = found if found > 0 else len(data) - len(_MAGIC) + 1
        self._rest = data[at:]
        return numbers

    def lost(self, sent: int) -> int:
        """Of the frames 0 … `sent` - 1."""
        return sum(number not in self.seen for number in range(sent))

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.seen.values())

    def _take(self, head: bytes) -> list[int]:
        magic, session, number = _HEAD.unpack(head)
        if magic != _MAGIC:
            self.broken += 1
            return []
        if session != self.session:
            self.foreign += 1
            return []
        self.seen[number] += 1
        return [number]
