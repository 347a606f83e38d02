"""PURE. Speech that a codec leaves recognisable: noise in the band of a voice, drawn by session and place.

A frame that was compressed is not the frame any more, so nothing can stand in its samples. But noise is like itself nowhere
else: laid over what was said at the right place, decoded sound correlates to the sample, and at no other place, nor with
anybody else's. It goes on from frame to frame without a seam, so it may be cut anywhere, and every piece of it says where
it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complex128]

RATE = 24_000
STEP = RATE // 50
"""Samples of a frame."""
BAND_HZ = (300, 2_600)
"""Where every codec here codes waves and not their outline: AAC replaces noise from 4 kHz on, Opus folds what is higher."""
_RMS = 3_000
_TAPS = 257

QUIET = 300.0
"""Below it sound is silence, or what a codec makes of it: speech is ten times as loud."""

MEMORY_FRAMES = 320
"""What was said so long ago may still be heard: four of the longest turns."""
_GRID_FRAMES = 80
"""Memories begin at multiples of it, so that one is used again and again."""

_COARSE = 3
"""Every third sample is enough to look for the place: 8 kHz."""
_FFT = 1 << 16
"""More than a whole memory and a window, at that rate."""


def _band_pass() -> Samples:
    at = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * hertz / RATE for hertz in BAND_HZ)
    passed: Samples = (high * np.sinc(high * at) - low * np.sinc(low * at)) * np.hamming(_TAPS)
    return passed / np.sqrt(passed @ passed) * _RMS


_FILTER = _band_pass()


@lru_cache(maxsize=8192)
def _drawn(session: int, number: int) -> Samples:
    return np.random.default_rng((session, number + 1)).standard_normal(STEP)


def sound(session: int, first: int, count: int) -> Samples:
    """So many frames from this one on."""
    drawn = np.concatenate([_drawn(session, number) for number in range(first - 1, first + count)])
    spoken: Samples = np.convolve(drawn, _FILTER)[STEP : STEP + count * STEP]
    return np.clip(spoken, -30_000, 30_000)


def pcm(session: int, first: int, count: int) -> bytes:
    """The same as PCM16."""
    return bytes(sound(session, first, count).astype("<i2").tobytes())


def samples(audio: bytes) -> Samples:
    """Of PCM16; half a sample at the end is left out."""
    return np.frombuffer(audio[: len(audio) // 2 * 2], "<i2").astype(float)


@dataclass(frozen=True)
class Memory:
    """What a session has said of late, and where in it a piece of sound stands."""

    first: int
    """sample of all its speech with which this begins"""
    said: Samples
    _spectrum: Spectrum
    _loudness: Samples
    """energy up to each sample, of every third"""

    def find(self, heard: Samples) -> tuple[int, float]:
        """The place (a sample of all its speech) at which it is most like this, and how much: 1 is the same."""
        coarse = heard[::_COARSE]
        likeness = np.fft.irfft(np.conj(np.fft.rfft(coarse, _FFT)) * self._spectrum, _FFT)
        last = len(self._loudness) - len(coarse)
        energy = self._loudness[len(coarse) :] - self._loudness[:last]
        at = int(np.argmax(likeness[:last] / np.sqrt(energy + 1.0))) * _COARSE
        places = range(max(0, at - _COARSE), min(len(self.said) - len(heard), at + _COARSE) + 1)
        likely, place = max((like(heard, self.said[place : place + len(heard)]), place) for place in places)
        return self.first + place, likely


def like(one: Samples, other: Samples) -> float:
    """Their correlation; of silence with anything none."""
    return float(one @ other / np.sqrt((one @ one) * (other @ other) + 1.0))


def memory(session: int, spoken: int) -> Memory:
    """Of a session that has spoken so many frames."""
    return _memory(session, -(-max(1, spoken) // _GRID_FRAMES) * _GRID_FRAMES)


@lru_cache(maxsize=64)
def _memory(session: int, end: int) -> Memory:
    first = max(0, end - MEMORY_FRAMES - _GRID_FRAMES)
    said = sound(session, first, end - first)
    coarse = said[::_COARSE]
    return Memory(first * STEP, said, np.fft.rfft(coarse, _FFT), np.concatenate([[0.0], np.cumsum(coarse * coarse)]))
