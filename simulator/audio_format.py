"""PURE. The three formats of the Realtime API, and the way from one to another.

In audio, time is how much audio has come: a format turns bytes into milliseconds and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simulator.wire import Object

Samples: TypeAlias = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    name: str
    sample_rate: int
    """Hertz"""
    sample_bytes: int

    @property
    def bytes_per_ms(self) -> int:
        return self.sample_rate * self.sample_bytes // 1000

    def ms(self, length: int) -> float:
        """Milliseconds in `length` bytes."""
        return length / self.bytes_per_ms

    def whole(self, length: int) -> int:
        """`length` without the bytes of a sample that is not complete."""
        return length - length % self.sample_bytes


PCM = AudioFormat("audio/pcm", 24_000, 2)
PCMU = AudioFormat("audio/pcmu", 8_000, 1)
PCMA = AudioFormat("audio/pcma", 8_000, 1)
_FORMATS = {each.name: each for each in (PCM, PCMU, PCMA)}


def from_wire(record: Object) -> AudioFormat:
    """Raises KeyError for a format that was not checked before."""
    return _FORMATS[str(record["type"])]


def decode(audio: bytes, source: AudioFormat) -> Samples:
    """Whole samples as 16 bit, at the format's own rate."""
    if source is PCM:
        return np.frombuffer(audio, dtype="<i2")
    return _EXPANDED[source][np.frombuffer(audio, dtype=np.uint8)]


def convert(audio: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    """The same sound in another format; the very same bytes when it is the same format.

    The rates stand 3 to 1, so three samples are averaged into one, or one is repeated: good enough to be understood.
    """
    if source is target:
        return audio
    samples = decode(audio[: source.whole(len(audio))], source)
    if source.sample_rate > target.sample_rate:
        samples = samples[: len(samples) // 3 * 3].reshape(-1, 3).mean(axis=1).astype(np.int16)
    elif source.sample_rate < target.sample_rate:
        samples = samples.repeat(3)
    if target is PCM:
        return samples.astype("<i2").tobytes()
    codes: npt.NDArray[np.uint8] = _COMPRESSED[target][(samples.astype(np.int32) + 32768) >> 2]
    return codes.tobytes()


def _expand_ulaw() -> Samples:
    """ITU-T G.711, µ-law: complement, then sign, exponent and mantissa around a bias of 132."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = ((((code & 0x0F).astype(np.int32) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _expand_alaw() -> Samples:
    """ITU-T G.711, A-law: even bits inverted, then sign, exponent and mantissa."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = (code & 0x0F).astype(np.int32) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent.astype(np.int32) - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _compress(expanded: Samples) -> npt.NDArray[np.uint8]:
    """For each 14-bit sample the code whose value is nearest: the inverse of the expansion, by looking."""
    order = np.argsort(expanded, kind="stable")
    levels = expanded[order].astype(np.int32)
    samples = (np.arange(1 << 14, dtype=np.int32) << 2) - 32768
    nearest = np.searchsorted((levels[:-1] + levels[1:]) // 2, samples)
    return order[nearest].astype(np.uint8)


_EXPANDED = {PCMU: _expand_ulaw(), PCMA: _expand_alaw()}
_COMPRESSED = {name: _compress(table) for name, table in _EXPANDED.items()}
