"""PURE. What the transcoder makes of a whole file."""

from __future__ import annotations

from dataclasses import dataclass, field

SAMPLE_RATE = 24_000
"""Hertz: what the model listens to."""

BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What the client sent."""

    container: str
    """The file's kind: "m4a", "mp4", "mov", "3gp"."""
    codec: str
    """FFmpeg's name of the codec: "aac", "alac"."""
    sample_rate: int
    """Hertz, as decoded (HE-AAC declares half of it)."""
    channels: int
    duration_s: float
    """What was recorded: without the encoder's priming and padding. Never more than the `max_seconds` it was decoded
    with (the PCM may be, by half a sample of rounding), so this is what to take from `limits.DecodedSeconds`."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A whole file as the model wants it."""

    pcm: bytes = field(repr=False)
    """PCM16, little-endian, mono, at `SAMPLE_RATE`. No log shows it: voices are personal."""
    source: SourceInfo
    lost_packets: int = 0
    """Coded packets too damaged to decode. Each became silence of its own length, unless nothing came after it."""
