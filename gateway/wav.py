"""PURE. The canonical 44-byte header of a PCM WAV file."""

from __future__ import annotations

import struct

from streams.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE

HEADER_BYTES = 44
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM = 1


def wav(audio: bytes | bytearray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """PCM16 little-endian mono as one complete WAV file. `sample_rate` in Hertz."""
    header = _HEADER.pack(
        b"RIFF",
        HEADER_BYTES - 8 + len(audio),
        b"WAVE",
        b"fmt ",
        16,  # bytes of this chunk
        _PCM,
        1,  # channel
        sample_rate,
        sample_rate * BYTES_PER_SAMPLE,
        BYTES_PER_SAMPLE,
        8 * BYTES_PER_SAMPLE,
        b"data",
        len(audio),
    )
    return header + audio
