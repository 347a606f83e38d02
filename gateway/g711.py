"""PURE. PCM16 at 8 kHz as G.711 has it, for clients that pass an answer on to a telephone: a byte a sample."""

from __future__ import annotations

from functools import cache
from typing import Literal

Law = Literal["pcmu", "pcma"]
"""µ-law, A-law."""


def encode(audio: bytes, law: Law) -> bytes:
    """`audio`: whole samples, little-endian."""
    return bytes(map(_table(law).__getitem__, memoryview(audio).cast("H")))


@cache
def _table(law: Law) -> bytes:
    """By sample, as an unsigned number."""
    one = _mu_law if law == "pcmu" else _a_law
    return bytes(one(value - 65_536 if value >= 32_768 else value) for value in range(65_536))


def _mu_law(sample: int) -> int:
    """ITU-T G.711, of 14 bits, which are the upper ones here."""
    magnitude = min(abs(sample), 32_635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> (exponent + 3) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def _a_law(sample: int) -> int:
    """ITU-T G.711, of 13 bits; every other bit of the code is inverted."""
    magnitude = (sample if sample >= 0 else ~sample) >> 4
    exponent = max(magnitude.bit_length() - 4, 0)
    mantissa = magnitude >> max(exponent - 1, 0) & 0x0F
    return ((0x80 if sample >= 0 else 0) | exponent << 4 | mantissa) ^ 0x55
