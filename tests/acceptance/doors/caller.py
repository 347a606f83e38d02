"""Who plays the scenario at a door: each door has one, which speaks as a client of that door does."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tests.acceptance.doors.heard import Heard

FRAME_BYTES = 1_920
"""40 ms at 24 kHz"""

SILENCE = bytes(48_000)
"""A second of nothing, behind which the model's VAD knows that somebody has finished."""


class Caller(Protocol):
    """A client on one door. Used as an async context manager: inside, it is connected."""

    heard: Heard
    hears_text: bool
    """whether the door says in words what it says in sound"""

    async def __aenter__(self) -> Caller: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def speak(self, pcm: bytes) -> None:
        """Say this (PCM16 24 kHz mono) and fall silent."""

    async def end(self) -> None:
        """Leave as this door's clients leave, and hear its goodbye where it has one."""


def frames(pcm: bytes, size: int = FRAME_BYTES) -> list[bytes]:
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def resampled(pcm: bytes, rate: int, to: int) -> bytes:
    """Good enough to compare by: linear between samples."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    length = round(len(samples) * to / rate)
    at = np.arange(length) * rate / to
    values = np.interp(at, np.arange(len(samples)), samples).round().astype("<i2")
    return bytes(values.tobytes())
