"""PURE. What a client may ask of the codec in which it wants to hear answers (`streams.play`)."""

from __future__ import annotations

from typing import Final

import msgspec

from streams.keys import PlayCodec

MIN_BIT_RATE, MAX_BIT_RATE = 8_000, 128_000
"""Bits a second."""

FRAMES_MS: Final = (20, 40, 60)
"""How long an Opus packet may be; AAC has no choice."""


class Coding(msgspec.Struct, frozen=True, omit_defaults=True):
    """None: what the transcoder takes for speech. Of PCM both are."""

    bit_rate: int | None = None
    """bits a second, MIN_BIT_RATE to MAX_BIT_RATE"""
    frame_ms: int | None = None
    """one of FRAMES_MS"""


ANY = Coding()
"""Nothing is asked for."""


def is_coded(codec: PlayCodec) -> bool:
    """Whether it comes in packets."""
    return codec in ("opus", "aac")
