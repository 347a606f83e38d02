"""PURE. AAC in ADTS frames, and MP3: streams without a container, in which each frame begins with a header of its own.

ISO 13818-7 (ADTS), ISO 11172-3 (MPEG audio). A frame goes to the decoder with its header. After damage two headers are
wanted whose distance is right, for the few bits of one turn up in sound as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from transcoder.demux.packets import MAX_ELEMENT_BYTES, Damage, DemuxError, Event, Packet, Track

_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)

_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_DECODER_DELAY = 529
"""Samples by which every MP3 decoder comes late; LAME counts its own delay without them."""

_MAX_TAGS = 16
"""ID3 tags before the first frame; one is what there is."""


class _Frame(NamedTuple):
    size: int
    """bytes, header and all"""
    rate: int
    channels: int


@dataclass
class FramedDemuxer:
    """Frames one after the other, each with its header. Made by `adts` and `mp3`."""

    _codec: Literal["aac", "mp3"]
    _buffer: bytearray = field(default_factory=bytearray)
    _lost: bool = False
    _skip: int = 0
    _tags: int = 0
    _track: Track | None = None
    _priming: int = 0
    _padding: int = 0
    _left: int | None = None
    """frames still to come, where the stream says how many it has"""

    @property
    def _header_bytes(self) -> int:
        return _HEADERS[self._codec][0]

    @property
    def _read(self) -> Callable[[bytes], _Frame | None]:
        return _HEADERS[self._codec][1]

    def feed(self, chunk: bytes) -> list[Event]:
        self._buffer += chunk
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def close(self) -> list[Event]:
        events: list[Event] = []
        if self._lost and self._find(closing=True):
            events += self.feed(b"")
        left, self._buffer = len(self._buffer), bytearray()
        return [*events, Damage("the last frame is not complete")] if left else events

    def resync(self) -> None:
        self._buffer.clear()
        self._lost = True

    def _step(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if self._skip:
            gone = min(self._skip, len(buffer))
            del buffer[:gone]
            self._skip -= gone
            if self._skip:
                return False
        if self._lost and not self._find(closing=False):
            return False
        if self._track is None and self._codec == "mp3":
            tag = _id3_bytes(buffer)
            if tag != 0:
                self._skip = tag or 0
                self._tags += tag is not None
                if self._tags > _MAX_TAGS:
                    raise DemuxError(f"this MP3 stream begins with more than {_MAX_TAGS} tags")
                return tag is not None
        if len(buffer) < self._header_bytes:
            return False
        frame = self._read(bytes(buffer[: self._header_bytes]))
        if frame is None:
            if self._track is None:
                raise DemuxError(f"this is no {self._codec.upper()} stream: it does not begin with a frame")
            events.append(Damage("what should be a frame is none"))
            del buffer[:1]
            self._lost = True
            return True
        if len(buffer) < frame.size:
            return False
        data = bytes(buffer[: frame.size])
        del buffer[: frame.size]
        events += self._take(frame, data)
        return True

    def _take(self, frame: _Frame, data: bytes) -> list[Event]:
        if self._track is not None:
            return [self._packet(data)]
        told = _read_info(data, frame) if self._codec == "mp3" else None
        if told is not None:
            self._left, self._priming, self._padding = told
        self._track = Track(self._codec, frame.rate, frame.channels, b"", self._priming)
        return [self._track] if told is not None else [self._track, self._packet(data)]

    def _packet(self, data: bytes) -> Packet:
        padding = 0
        if self._left is not None:
            self._left -= 1
            padding = self._padding if self._left == 0 else 0
        return Packet(data, None, padding)

    def _find(self, *, closing: bool) -> bool:
        """Go to the next frame behind which another begins; at the end of the stream one is enough."""
        buffer, at = self._buffer, 0
        while (at := buffer.find(b"\xff", at)) >= 0 and len(buffer) - at >= self._header_bytes:
            frame = self._read(bytes(buffer[at : at + self._header_bytes]))
            if frame is not None:
                after = at + frame.size
                if len(buffer) >= after + self._header_bytes:
                    if self._read(bytes(buffer[after : after + self._header_bytes])) is not None:
                        return self._found(at)
                elif closing:
                    return self._found(at)
                elif len(buffer) - at < MAX_ELEMENT_BYTES:
                    break  # perhaps: wait for the next header
            at += 1
        del buffer[: at if at >= 0 else max(0, len(buffer) - 1)]
        return False

    def _found(self, at: int) -> bool:
        del self._buffer[:at]
        self._lost = False
        return True


def adts() -> FramedDemuxer:
    """AAC."""
    return FramedDemuxer("aac")


def mp3() -> FramedDemuxer:
    """MPEG audio, layer III."""
    return FramedDemuxer("mp3")


def _adts_frame(header: bytes) -> _Frame | None:
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate_index = (header[2] >> 2) & 15
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if rate_index >= len(_AAC_RATES) or size < 7:
        return None
    return _Frame(size, _AAC_RATES[rate_index], (header[2] & 1) << 2 | header[3] >> 6 or 1)


def _mp3_frame(header: bytes) -> _Frame | None:
    if header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, kbit_index, rate_index = (header[1] >> 3) & 3, header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or rate_index == 3 or not 0 < kbit_index < 15:
        return None
    rate = _MP3_RATES[version][rate_index]
    kbits = (_MP3_KBITS_1 if version == 3 else _MP3_KBITS_2)[kbit_index]
    size = (144 if version == 3 else 72) * kbits * 1000 // rate + ((header[2] >> 1) & 1)
    return _Frame(size, rate, 1 if header[3] >> 6 == 3 else 2)


def _id3_bytes(buffer: bytearray) -> int | None:
    """How long the ID3v2 tag at the start is; 0 for none, None when that cannot be said yet."""
    if not buffer.startswith(b"ID3"[: len(buffer)]):
        return 0
    if len(buffer) < 10:
        return None
    size = 0
    for byte in buffer[6:10]:
        size = size << 7 | byte & 127
    return 10 + size + (10 if buffer[5] & 16 else 0)


def _read_info(data: bytes, frame: _Frame) -> tuple[int | None, int, int] | None:
    """A first frame that is none: how many follow, the samples of priming and of padding (LAME's tag). None: it is sound."""
    is_v1 = (data[1] >> 3) & 3 == 3
    side = (32 if frame.channels == 2 else 17) if is_v1 else (17 if frame.channels == 2 else 9)
    at = 4 + side
    if data[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    at += 8
    frames = int.from_bytes(data[at : at + 4], "big") if flags & 1 else None
    at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    delays = data[at + 21 : at + 24]
    if len(delays) < 3 or not any(delays):
        return frames, 0, 0
    delay, padding = delays[0] << 4 | delays[1] >> 4, (delays[1] & 15) << 8 | delays[2]
    return frames, delay + _MP3_DECODER_DELAY, max(0, padding - _MP3_DECODER_DELAY)


_HEADERS: dict[str, tuple[int, Callable[[bytes], _Frame | None]]] = {"aac": (7, _adts_frame), "mp3": (4, _mp3_frame)}
"""Bytes of a frame's header, and what reads it."""
