"""The iOS app as it is shipped: 16 kHz, both ways."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from cli.load.doors.coded import Coded
from cli.load.doors.ios import Ios
from cli.load.sound import RATE


class Ios16(Coded, Ios):
    """What it says and hears is resampled, so it is known by how it sounds."""

    rate = 16_000

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._up, self._down = Rate(RATE, self.rate), Rate(self.rate, RATE)

    async def dial(self) -> None:
        self._down = Rate(self.rate, RATE)
        await super().dial()

    def recorded(self, pcm: bytes) -> bytes:
        return self._up.feed(pcm)

    def played(self, pcm: bytes) -> bytes:
        return self._down.feed(pcm)


class Rate:
    """From one rate to another, cut anywhere."""

    def __init__(self, source: int, target: int) -> None:
        self._resampler, self._source = AudioResampler(format="s16", layout="mono", rate=target), source
        self._half, self._at = b"", 0

    def feed(self, pcm: bytes) -> bytes:
        pcm = self._half + pcm
        whole = len(pcm) // 2 * 2
        self._half = pcm[whole:]
        if not whole:
            return b""
        frame = AudioFrame.from_ndarray(np.frombuffer(pcm[:whole], "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._source, self._at, Fraction(1, self._source)
        self._at += whole // 2
        return b"".join(made.to_ndarray().tobytes() for made in self._resampler.resample(frame))
