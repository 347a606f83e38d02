"""PURE. Ogg pages as they come: Opus, and what else is spoken into Ogg.

RFC 3533 (Ogg), RFC 7845 (Opus in it). A page is a header, a table of segment sizes and the segments; a packet is the
segments up to one shorter than 255 bytes, and may go on in the next page. Streams may be chained: then a new one begins with
its own header. A page that is missing is known by the number of the next; after damage the next `OggS` is looked for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from transcoder.demux.packets import MAX_ELEMENT_BYTES, MAX_IDLE_ELEMENTS, Damage, DemuxError, Event, Packet, Track
from transcoder.trim import Span

_MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_NO_PACKET_ENDS = -1
_OPUS_RATE = 48_000
_HEADERS = {"opus": 2, "vorbis": 3, "flac": 1}
"""Packets before the first of sound. (FLAC says itself how many; see `_flac_headers`.)"""


@dataclass
class OggDemuxer:
    """The first audio stream, and those chained to it."""

    _buffer: bytearray = field(default_factory=bytearray)
    _serial: int | None = None
    _sequence: int | None = None
    _partial: bytearray | None = None
    """the beginning of a packet that goes on in the next page; None when such a beginning is missing"""
    _track: Track | None = None
    _headers: list[bytes] = field(default_factory=list)
    _headers_due: int = 0
    _granule: int | None = None
    """of the last page of sound: samples up to its end, priming and all"""
    _idle: int = 0

    def feed(self, chunk: bytes) -> list[Event]:
        self._buffer += chunk
        events: list[Event] = []
        known = 0
        while self._page(events):
            heard = any(not isinstance(event, Damage) for event in events[known:])
            self._idle = 0 if heard else self._idle + 1
            known = len(events)
            if self._idle > MAX_IDLE_ELEMENTS:
                raise DemuxError("this Ogg stream has far too many pages without sound")
        return events

    def close(self) -> list[Event]:
        left, self._buffer = len(self._buffer), bytearray()
        return [Damage("the last page is not complete")] if left or self._partial else []

    def resync(self) -> None:
        self._buffer.clear()
        self._lose()

    def _lose(self) -> None:
        self._partial = None
        self._granule = self._sequence = None

    def _page(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer.startswith(_MAGIC[: len(buffer)]):
            if self._track is None and not self._headers:
                raise DemuxError("this is no Ogg stream: it does not begin with a page")
            events.append(Damage("what should be a page is none"))
            at = buffer.find(_MAGIC, 1)
            del buffer[: at if at >= 0 else max(1, len(buffer) - 3)]
            self._lose()
            return at >= 0
        if len(buffer) < _HEADER.size:
            return False
        _, version, flags, granule, serial, sequence, _, segments = _HEADER.unpack_from(buffer)
        if version:
            del buffer[:1]  # no page of ours: look for the next
            return True
        body_at = _HEADER.size + segments
        if len(buffer) < body_at:
            return False
        sizes = buffer[_HEADER.size : body_at]
        end = body_at + sum(sizes)
        if len(buffer) < end:
            return False
        body = bytes(buffer[body_at:end])
        del buffer[:end]
        events += self._take(flags, granule, serial, sequence, bytes(sizes), body)
        return True

    def _take(self, flags: int, granule: int, serial: int, sequence: int, sizes: bytes, body: bytes) -> list[Event]:
        events: list[Event] = []
        if flags & _FIRST:
            self._begin(serial)
        if serial != self._serial:
            return []  # another stream beside it
        if self._sequence is not None and sequence != self._sequence + 1:
            events.append(Damage("pages are missing"))
            self._lose()
        self._sequence = sequence
        packets: list[bytes] = []
        for packet in self._packets(flags, sizes, body):
            if self._headers_due:
                events += self._header(packet)
            else:
                packets.append(packet)
        return events + self._sound(packets, granule, last=bool(flags & _LAST))

    def _begin(self, serial: int) -> None:
        if self._serial is not None and self._headers_due:
            return  # streams that begin together: the first one is ours
        self._serial, self._sequence, self._granule = serial, None, None
        self._partial, self._headers, self._headers_due = bytearray(), [], 1

    def _packets(self, flags: int, sizes: bytes, body: bytes) -> list[bytes]:
        """Those that end in this page."""
        packets: list[bytes] = []
        if not flags & _CONTINUED:
            self._partial = bytearray()
        at = 0
        for size in sizes:
            if self._partial is not None:
                self._partial += body[at : at + size]
                if len(self._partial) > MAX_ELEMENT_BYTES:
                    raise DemuxError(f"a packet of this Ogg stream has more than {MAX_ELEMENT_BYTES} bytes")
            at += size
            if size < 255:
                if self._partial is not None:
                    packets.append(bytes(self._partial))
                self._partial = bytearray()
        return packets

    def _header(self, packet: bytes) -> list[Event]:
        if not self._headers:
            self._headers_due = _headers(packet)
        self._headers.append(packet)
        self._headers_due -= 1
        if self._headers_due:
            return []
        self._track = _track(self._headers)
        return [self._track]

    def _sound(self, packets: list[bytes], granule: int, *, last: bool) -> list[Event]:
        track = self._track
        if track is None or not packets:
            return []
        before, self._granule = self._granule, None if granule == _NO_PACKET_ENDS else granule
        if track.codec != "opus":
            return [Packet(packet) for packet in packets]
        lengths = [opus_samples(packet) for packet in packets]
        begins = granule - sum(lengths) if not last else before
        times = [None] * len(packets) if begins is None else [begins / _OPUS_RATE, *[None] * (len(packets) - 1)]
        events = [Packet(packet, time) for packet, time in zip(packets, times, strict=True)]
        if last and granule != _NO_PACKET_ENDS:
            surplus = (before or 0) + sum(lengths) - granule
            for n in reversed(range(len(events))):
                padding = min(max(surplus, 0), lengths[n])
                events[n] = replace(events[n], padding=padding)
                surplus -= padding
        return list(events)


def vorbis_span(data: bytes) -> Span:
    """Of a whole Vorbis file: up to the position of its last page, which cuts the last packet. All of a chained one.

    Only a whole file can tell: how many samples a packet has depends on its neighbours and on the codec's own tables.
    """
    last = data.rfind(_MAGIC)
    if len(data) - last < _HEADER.size or len(data) < 64 or data.count(_MAGIC + b"\0\2") != 1:
        return Span(0, None, 1)
    _, _, flags, granule, serial, _, _, _ = _HEADER.unpack_from(data, last)
    head = data.find(b"\x01vorbis", 0, 64)
    rate = int.from_bytes(data[head + 12 : head + 16], "little")
    if not flags & _LAST or serial != _HEADER.unpack_from(data)[4] or granule <= 0 or head < 0 or not rate:
        return Span(0, None, 1)
    return Span(0, granule, rate)


def opus_samples(packet: bytes) -> int:
    """How many samples at 48 kHz an Opus packet holds (RFC 6716, section 3.1); 0 for what is none."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    count = 1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
    return frame * count if frame * count <= 5760 else 0


def _headers(packet: bytes) -> int:
    """How many header packets there are, this one included."""
    if packet.startswith(b"OpusHead"):
        return _HEADERS["opus"]
    if packet.startswith(b"\x01vorbis"):
        return _HEADERS["vorbis"]
    if packet.startswith(b"\x7fFLAC"):
        return 1 + max(1, int.from_bytes(packet[7:9], "big"))
    raise DemuxError("the sound in this Ogg stream is neither Opus nor Vorbis nor FLAC, which are taken here")


def _track(headers: list[bytes]) -> Track:
    first = headers[0]
    if first.startswith(b"OpusHead"):
        if len(first) < 19 or not first[9]:
            raise DemuxError("the Opus header of this Ogg stream is damaged")
        # The rate in it is the recorder's own; Opus decodes at 48 kHz whatever it says.
        return Track("opus", _OPUS_RATE, first[9], first, int.from_bytes(first[10:12], "little"))
    if first.startswith(b"\x01vorbis"):
        if len(first) < 30 or not first[11] or not int.from_bytes(first[12:16], "little"):
            raise DemuxError("the Vorbis header of this Ogg stream is damaged")
        sizes = b"".join(b"\xff" * (len(header) // 255) + bytes([len(header) % 255]) for header in headers[:2])
        rate = int.from_bytes(first[12:16], "little")
        return Track("vorbis", rate, first[11], b"\x02" + sizes + b"".join(headers))
    info = first[17:51]  # behind the mapping's own header, `fLaC` and the block's header
    if len(info) < 34:
        raise DemuxError("the FLAC header of this Ogg stream is damaged")
    rate = int.from_bytes(info[10:13], "big") >> 4
    return Track("flac", rate, ((info[12] >> 1) & 7) + 1, info)
