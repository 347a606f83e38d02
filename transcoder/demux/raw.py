"""PURE. Streams without any container: the client has said what they are, and where a packet ends its message does."""

from __future__ import annotations

from dataclasses import dataclass

from transcoder.demux.ogg import opus_samples
from transcoder.demux.packets import Damage, DemuxError, Event, Packet, Track

PCM_BYTES = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}
"""libavcodec's names of what may come raw, and the bytes of a sample."""

_OPUS_RATE = 48_000


@dataclass
class RawOpus:
    """Opus packets, one a chunk."""

    _began: bool = False

    def feed(self, chunk: bytes) -> list[Event]:
        if not chunk:
            return []
        if not opus_samples(chunk):
            return [Damage("this is no Opus packet")]
        channels = 2 if chunk[0] & 4 else 1
        head = b"OpusHead\1" + bytes([channels]) + b"\0\0" + _OPUS_RATE.to_bytes(4, "little") + b"\0\0\0"
        track: list[Event] = [] if self._began else [Track("opus", _OPUS_RATE, channels, head)]
        self._began = True
        return [*track, Packet(chunk)]

    def close(self) -> list[Event]:
        return []

    def resync(self) -> None:
        """The next packet stands for itself."""


@dataclass
class RawPcm:
    """PCM samples, interleaved. Raises DemuxError for what is no such thing."""

    _codec: str
    _sample_rate: int
    _channels: int = 1
    _began: bool = False
    _rest: bytes = b""

    def __post_init__(self) -> None:
        if self._codec not in PCM_BYTES:
            raise DemuxError(f"raw audio may be {', '.join(PCM_BYTES)}, not {self._codec[:40]}")

    def feed(self, chunk: bytes) -> list[Event]:
        data = self._rest + chunk
        whole = len(data) - len(data) % (PCM_BYTES[self._codec] * self._channels)
        self._rest = data[whole:]
        if not whole:
            return []
        track: list[Event] = [] if self._began else [Track("pcm", self._sample_rate, self._channels, b"", 0, self._codec)]
        self._began = True
        return [*track, Packet(data[:whole])]

    def close(self) -> list[Event]:
        self._rest = b""
        return []

    def resync(self) -> None:
        self._rest = b""
