"""PURE. Speech that a codec leaves recognisable: each tenth of a second has a melody of its own, found again by correlation.

A frame that was compressed is not the frame any more, so nothing can stand in its samples. But a tenth of a second that
glides through tones of its own, drawn by session and number, is like no other: it is found wherever it stands in what was
decoded, and where it stands says how far it was moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cli.load.coding import Frame

Samples: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complex128]

RATE = 24_000
BLOCK_FRAMES = 5
BLOCK = RATE // 10
"""Samples, five frames"""
QUIET = 300.0
"""Below it a step of 20 ms is silence, or what a codec makes of it: melodies are ten times as loud."""
LIKE = 0.7
"""Correlation from which on a block is taken for itself; others reach 0.4."""

LATEST = 20
"""Blocks that may be heard: the longest turn, and some of the one before."""

_STEP = RATE // 50
_TONES = 3


@lru_cache(maxsize=4096)
def block(session: int, number: int) -> Samples:
    """The tenth of a second that begins with this frame (a multiple of five)."""
    random = np.random.default_rng((session, number))
    points = np.linspace(0, BLOCK, BLOCK // _STEP + 1)
    sound = np.zeros(BLOCK)
    for _ in range(_TONES):
        hertz = np.interp(np.arange(BLOCK), points, random.uniform(300, 2_600, len(points)))
        sound += np.sin(2 * np.pi * np.cumsum(hertz) / RATE + random.uniform(0, 2 * np.pi))
    # Softly in and out: a seam that clicks is heard by no codec as it was.
    sound *= np.minimum(1.0, np.minimum(np.arange(BLOCK) + 1, np.arange(BLOCK)[::-1] + 1) / 120)
    return sound * (9_000 / _TONES)


def pcm(session: int, first: int, count: int) -> bytes:
    """So many frames from this one on, cut anywhere; PCM16."""
    begin, end = first // BLOCK_FRAMES, -(-(first + count) // BLOCK_FRAMES)
    sound = np.concatenate([block(session, number * BLOCK_FRAMES) for number in range(begin, end)])
    at = (first - begin * BLOCK_FRAMES) * _STEP
    return bytes(sound[at : at + count * _STEP].astype("<i2").tobytes())


def samples(audio: bytes) -> Samples:
    """Of PCM16; half a sample at the end is left out."""
    return np.frombuffer(audio[: len(audio) // 2 * 2], "<i2").astype(float)


@lru_cache(maxsize=1024)
def _spectrum(session: int, number: int, size: int) -> Spectrum:
    wanted = block(session, number)
    spectrum: Spectrum = np.conj(np.fft.rfft(wanted / np.sqrt(wanted @ wanted), size))
    return spectrum


def find(audio: Samples, session: int, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Where each of these blocks stands, as often as it does: (sample, number), in the order in which they stand."""
    if len(audio) < BLOCK or not numbers or not audio.any():
        return []
    size = 1 << (len(audio) + BLOCK - 1).bit_length()
    sums = np.concatenate([[0.0], np.cumsum(audio * audio)])
    loudness = np.sqrt(np.maximum(sums[BLOCK:] - sums[:-BLOCK], 1.0))
    wanted = np.stack([_spectrum(session, number, size) for number in numbers])
    likenesses = np.fft.irfft(np.fft.rfft(audio, size) * wanted, size)[:, : len(loudness)] / loudness
    found: list[tuple[int, int]] = []
    for number, likeness in zip(numbers, likenesses, strict=True):
        while likeness[at := int(np.argmax(likeness))] >= LIKE:
            found.append((at, number))
            likeness[max(0, at - BLOCK // 2) : at + BLOCK // 2] = 0.0
    return sorted(found)


def loud(audio: Samples) -> int:
    """How many blocks long is that in it which is no silence."""
    if not len(audio):
        return 0
    steps = audio[: len(audio) // _STEP * _STEP].reshape(-1, _STEP)
    return round(int(np.count_nonzero(np.sqrt((steps * steps).mean(axis=1)) > QUIET)) / BLOCK_FRAMES)


class SoundReader:
    """Decoded PCM in, cut anywhere; frames out, five at a time. Knows what may come: the blocks of the latest turns."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.expected: list[int] = []
        """first frames of blocks that were said, the latest last"""
        self.begins: set[int] = set()
        """those with which a turn begins: before them there may be any silence"""
        self.shifts: list[int] = []
        """samples between two blocks that follow each other, less what should lie between them"""
        self._audio, self._begin = np.zeros(0), 0
        self._half = b""
        self._unread = 0
        self._latest: tuple[int, int] | None = None

    def feed(self, audio: bytes) -> list[Frame]:
        """The frames that were found in it, as far as they are whole."""
        audio = self._half + audio
        self._half = audio[len(audio) // 2 * 2 :]
        self._audio = np.concatenate([self._audio, samples(audio)])
        self._unread += len(audio) // 2
        if self._unread < BLOCK:
            return []
        self._unread = 0
        found = list(self._fresh(find(self._audio, self.session, self.expected[-LATEST:])))
        keep = min(len(self._audio), 2 * BLOCK)
        self._begin += len(self._audio) - keep
        self._audio = self._audio[-keep:]
        return [Frame(self.session, number + at) for number in found for at in range(BLOCK_FRAMES)]

    def _fresh(self, found: Sequence[tuple[int, int]]) -> Iterator[int]:
        """Those that were not seen at this place before: what is kept is looked at twice."""
        for at, number in found:
            place = self._begin + at
            if self._latest is not None:
                before, earlier = self._latest
                if place <= before + BLOCK // 4:
                    continue
                if number == earlier + BLOCK_FRAMES and number not in self.begins:
                    self.shifts.append(place - before - BLOCK)
            self._latest = place, number
            yield number
