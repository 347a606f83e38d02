"""PURE. Opus packets as they come → Ogg pages (RFC 3533, RFC 7845): what a player plays that knows no bare packets.

Each part of an answer is a logical stream of its own, and they are chained: one after the other is one playable file. A page
is as long as what came at once, since it is to be heard at once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from streams import down
from streams.pcm import SAMPLE_RATE

GRANULES = 48_000 // SAMPLE_RATE
"""Ogg counts Opus at 48 kHz, whatever was coded."""

_PAGE = struct.Struct("<4sBBqIIIB")
_CRC_AT = 22
_HEAD = struct.Struct("<8sBBHIhB")
_BEGINS, _ENDS = 2, 4
_MAX_SEGMENTS = 255
_LACE = 255
"""Bytes of a segment; the first shorter one ends a packet (also one of none)."""

_VENDOR = b"parley"
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""of each byte, the bits the other way round"""


class OggStream:
    """One part of an answer, from the packet on that begins at `position` (samples at 24 kHz, as in `down.Packets`).

    What lies before 0 is skipped by whoever plays it. A stream that begins in the middle of its part (the client dialled
    again) follows the one before without a gap.
    """

    def __init__(self, serial: int, position: int) -> None:
        self._serial = serial
        self._skip = GRANULES * max(0, -position)
        self._granule = 0
        self._pages = 0

    def say(self, audio: bytes, packets: down.Packets) -> bytes:
        """Pages with these packets; the last ones of the part (`down.Tail`) end the stream. None for none."""
        is_end = isinstance(packets, down.Tail)
        if not packets.sizes:
            return b""
        pages = b"" if self._pages else self._headers()
        at = 0
        for first, upto in _cut(packets.sizes):
            sizes = packets.sizes[first:upto]
            self._granule += GRANULES * packets.samples * len(sizes)
            ends = is_end and upto == len(packets.sizes)
            granule = self._granule - (GRANULES * packets.padding if ends and isinstance(packets, down.Tail) else 0)
            pages += self._page(audio[at : at + sum(sizes)], sizes, granule, _ENDS if ends else 0)
            at += sum(sizes)
        return pages

    def _headers(self) -> bytes:
        head = _HEAD.pack(b"OpusHead", 1, 1, self._skip, SAMPLE_RATE, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", len(_VENDOR)) + _VENDOR + bytes(4)
        return self._page(head, [len(head)], 0, _BEGINS) + self._page(tags, [len(tags)], 0)

    def _page(self, data: bytes, sizes: Sequence[int], granule: int, flags: int = 0) -> bytes:
        lacing = b"".join(b"\xff" * (size // _LACE) + bytes([size % _LACE]) for size in sizes)
        head = _PAGE.pack(b"OggS", 0, flags, granule, self._serial, self._pages, 0, len(lacing))
        self._pages += 1
        page = head + lacing + data
        return page[:_CRC_AT] + crc(page).to_bytes(4, "little") + page[_CRC_AT + 4 :]


class EndlessOgg:
    """Packets without an end, and without parts, as one stream: what is silence in it is in packets too."""

    def __init__(self, packet_samples: int) -> None:
        """`packet_samples` at 24 kHz, of each packet."""
        self._stream, self._samples = OggStream(1, 0), packet_samples

    def say(self, packets: Sequence[bytes]) -> bytes:
        """Pages with these."""
        about = down.Packets([len(packet) for packet in packets], 0, self._samples)
        return self._stream.say(b"".join(packets), about)


class OggAnswers:
    """All that one client is told: a stream a part."""

    def __init__(self) -> None:
        self._part: tuple[str, int] | None = None
        self._stream = OggStream(0, 0)
        self._serial = 0

    def say(self, item: str, part: int, audio: bytes, packets: down.Packets) -> bytes:
        """What goes out now."""
        if self._part != (item, part):
            self._part = item, part
            self._serial += 1
            self._stream = OggStream(self._serial, packets.position)
        return self._stream.say(audio, packets)


def crc(page: bytes) -> int:
    """Ogg's: of polynomial 0x04c11db7 with the highest bit first, which is zlib's the other way round."""
    reversed_crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _cut(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Which packets go into one page each time: as many as it has segments for."""
    cuts, first, segments = list[tuple[int, int]](), 0, 0
    for n, size in enumerate(sizes):
        needs = size // _LACE + 1
        if segments + needs > _MAX_SEGMENTS:
            cuts.append((first, n))
            first, segments = n, 0
        segments += needs
    return [*cuts, (first, len(sizes))]
