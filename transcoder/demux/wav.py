"""PURE. How many samples a WAV file says that it has, where its codec's last block holds more than were recorded (ADPCM)."""

from __future__ import annotations

import struct

from transcoder.trim import Span

_MAX_CHUNKS = 1024
_PLAIN = (1, 3, 6, 7, 0xFFFE)
"""Format tags of which each sample stands alone: integers, floats, A-law, mu-law, and the extensible ones of these."""


def recorded(data: bytes) -> Span:
    """What the `fact` chunk says; all of it for plain samples, whose bytes are the better witness."""
    at, tag, rate = 12, 1, 0
    for _ in range(_MAX_CHUNKS):
        if len(data) - at < 8:
            break
        kind, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + min(size, 16)]
        if kind == b"fmt " and len(content) >= 8:
            tag, _, rate = struct.unpack_from("<HHI", content)
        elif kind == b"fact" and len(content) >= 4 and tag not in _PLAIN and rate:
            (samples,) = struct.unpack_from("<I", content)
            return Span(0, samples or None, rate)
        elif kind == b"data":
            break
        at += 8 + size + (size & 1)
    return Span(0, None, 1)
