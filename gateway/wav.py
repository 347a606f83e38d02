"""PURE. The canonical 44-byte header of a PCM WAV file."""

from __future__ import annotations

import struct

from streams.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE

HEADER_BYTES = 44
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM = 1


SIZE_UNKNOWN = 0xFFFFFFFF
"""In both size fields of a file whose end nobody knows."""


def wav(audio: bytes | bytearray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """PCM16 little-endian mono as one complete WAV file. `sample_rate` in Hertz."""
    return _header(sample_rate, HEADER_BYTES - 8 + len(audio), len(audio)) + audio


def endless_header(sample_rate: int) -> bytes:
    """What comes before PCM16 mono of a length that nobody knows yet."""
    return _header(sample_rate, SIZE_UNKNOWN, SIZE_UNKNOWN)


def _header(sample_rate: int, riff_bytes: int, data_bytes: int) -> bytes:
    return _HEADER.pack(
        b"RIFF",
        riff_bytes,
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
        data_bytes,
    )
