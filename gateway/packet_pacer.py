"""PURE. Playback pace, as `gateway.pacer`, of audio in packets: they go out whole, and what fills silence is a packet too.

An interruption cuts at a border of packets. Whoever plays them knows nothing of it: what comes next is decoded behind what
came before.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.pacer import FRAME_S, M, Pacer
from streams.pcm import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class PacketKind:
    """Packets of one length."""

    samples: int
    """at 24 kHz, that each decodes to"""
    silence: bytes
    """one in which nothing is heard"""


AAC = PacketKind(1024, bytes.fromhex("fff15840017ffc01182007"))
"""The silence is what our encoder (FFmpeg's) makes of zeros, mono at 24 kHz, once it has had some: an ADTS header, a single
channel element without a scale factor band, the end."""

_SILENT = bytes.fromhex("fffe")
"""20 ms of CELT whose first bit says that they are silent (RFC 6716, section 4.3)."""

OPUS = {
    20: PacketKind(480, b"\xfc" + _SILENT),
    40: PacketKind(960, b"\xfd" + 2 * _SILENT),
    60: PacketKind(1440, b"\xff\x03" + 3 * _SILENT),
}
"""By the milliseconds of a packet. The first byte says: full band, mono; one frame, two, or as many as the next says."""


class PacketPacer(Pacer[M]):
    """One client's stream of packets: `feed` takes one at a time. Else it is used as a `Pacer`."""

    def __init__(self, kind: PacketKind, now: float) -> None:
        super().__init__(SAMPLE_RATE, now)
        self._kind = kind
        self._frame = -(-round(FRAME_S * SAMPLE_RATE) // kind.samples) * kind.samples

    def _some(self, audio: bytes, room: int) -> tuple[bytes, int]:
        return (audio, self._kind.samples) if audio and room >= self._kind.samples else (b"", 0)

    def _silence(self, samples: int) -> tuple[list[bytes], int]:
        packets = samples // self._kind.samples
        return [self._kind.silence] * packets, packets * self._kind.samples
