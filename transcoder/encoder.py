"""NO I/O. PCM → coded packets for a client that pays for its bytes: Opus, or AAC in ADTS frames.

One encoder lives as long as what is said in one go (an item's part); the next thing begins with a fresh one, so that an
interruption leaves nothing in it. Frames are of fixed length: PCM in is cut into them, and `flush` fills the last one up
with silence, which `padding` counts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from av import AudioCodecContext, AudioFrame, CodecContext

from streams.coding import ANY, FRAMES_MS, MAX_BIT_RATE, MIN_BIT_RATE, Coding
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE

Codec = Literal["opus", "aac"]

BIT_RATES: dict[Codec, int] = {"opus": 24_000, "aac": 32_000}
"""Bits a second where nobody asks for another: speech at 24 kHz is plain at it."""

FRAME_SAMPLES: dict[Codec, int] = {"opus": 480, "aac": 1024}
"""At 24 kHz, where nobody asks for another length: 20 ms of Opus. AAC has no choice."""

_TIME_BASE = Fraction(1, SAMPLE_RATE)

_ADTS_RATE_INDEX = 6
"""24 kHz in AAC's table of rates (ISO 14496-3, table 1.18)."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One packet."""

    data: bytes = field(repr=False)
    samples: int
    """at 24 kHz, that it holds"""


class Encoder:
    """`encode(pcm)` → packets that are complete, `flush()` → the rest. PCM16 mono at SAMPLE_RATE."""

    def __init__(self, codec: Codec, coding: Coding = ANY) -> None:
        """Raises ValueError for a bit rate or a length of frames that is none."""
        rate = BIT_RATES[codec] if coding.bit_rate is None else coding.bit_rate
        frame_ms = FRAMES_MS[0] if coding.frame_ms is None else coding.frame_ms
        if frame_ms not in FRAMES_MS:
            raise ValueError(f"frames of {frame_ms} ms: {', '.join(map(str, FRAMES_MS))} are possible")
        if not MIN_BIT_RATE <= rate <= MAX_BIT_RATE:
            raise ValueError(f"a bit rate of {rate}: {MIN_BIT_RATE} to {MAX_BIT_RATE} bits a second are possible")
        context = CodecContext.create("libopus" if codec == "opus" else "aac", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout, context.bit_rate = SAMPLE_RATE, "mono", rate
        context.format = "s16" if codec == "opus" else "fltp"
        context.time_base = _TIME_BASE
        if codec == "opus":
            context.options = {"application": "voip", "frame_duration": str(frame_ms), "vbr": "on"}
        context.open()
        self._context, self._codec, self._coding = context, codec, coding
        self.frame_samples = frame_ms * SAMPLE_RATE // 1000 if codec == "opus" else FRAME_SAMPLES["aac"]
        """at 24 kHz, in each packet"""
        self._frame_bytes = self.frame_samples * BYTES_PER_SAMPLE
        self._rest = b""
        self._at = 0
        self._first = b""
        """two frames"""
        self.padding = 0
        """samples of silence at the end, after `flush`"""

    @property
    def priming(self) -> int:
        """Samples at 24 kHz that a decoder gives before the first one that was fed."""
        if self._codec == "aac":
            return FRAME_SAMPLES["aac"]
        return int.from_bytes((self._context.extradata or bytes(12))[10:12], "little") // 2

    @property
    def head(self) -> bytes:
        """Of Opus the OpusHead (RFC 7845, section 5.1): what a container says before the packets."""
        return self._context.extradata or b""

    def encode(self, pcm: bytes) -> list[Coded]:
        data = self._rest + pcm
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = data[whole:]
        return [
            packet for at in range(0, whole, self._frame_bytes) for packet in self._encode(data[at : at + self._frame_bytes])
        ]

    def early(self) -> Coded:
        """The second packet, when two frames are in: the first of AAC's that is heard. `encode` gives it a frame later.

        FFmpeg looks a frame further than the packet needs, for what it has to prepare for. Another encoder is told that
        nothing comes, and chooses the same but for an attack right behind: there the seam is not quite cancelled out.
        """
        other = Encoder(self._codec, self._coding)
        return (other.encode(self._first) + other.flush())[1]

    def flush(self) -> list[Coded]:
        """All that was fed is in the packets, and what the codec holds back at its end: then this encoder is done."""
        packets = []
        if self._rest:
            self.padding = (self._frame_bytes - len(self._rest)) // BYTES_PER_SAMPLE
            packets = self._encode(self._rest.ljust(self._frame_bytes, b"\0"))
            self._rest = b""
        return packets + [self._coded(bytes(packet)) for packet in self._context.encode(None)]

    def _encode(self, pcm: bytes) -> list[Coded]:
        if self._at < 2 * self.frame_samples:
            self._first += pcm
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        if self._codec == "aac":
            frame = AudioFrame.from_ndarray((samples / 32768).astype(np.float32), format="fltp", layout="mono")
        else:
            frame = AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._at, _TIME_BASE
        self._at += samples.shape[1]
        return [self._coded(bytes(packet)) for packet in self._context.encode(frame)]

    def _coded(self, data: bytes) -> Coded:
        return Coded(_adts(data) if self._codec == "aac" else data, self.frame_samples)


def _adts(packet: bytes) -> bytes:
    """An AAC-LC packet as an ADTS frame (ISO 13818-7, section 6.2): mono at 24 kHz, without a checksum."""
    size = len(packet) + 7
    profile_lc, mono = 1, 1
    bits = (
        0xFFF << 44
        | 1 << 40  # no checksum
        | profile_lc << 38
        | _ADTS_RATE_INDEX << 34
        | mono << 30
        | size << 13
        | 0x7FF << 2  # variable bit rate
    )
    return struct.pack(">Q", bits)[1:] + packet
