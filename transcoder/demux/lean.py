"""PURE. A file without its tags: only what the sound needs reaches libavformat.

Titles, pictures and comments are of no use here, and they are a way to hurt: libavformat keeps them in a list that it
searches from the start for each further one, so that 20,000 of them, in 300 kB, take 2 s and 200,000 take minutes. What is
left out here is never parsed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from transcoder.demux.boxes import Budget, walk

_MAX_CHUNKS = 4096

_CAF_KEPT = frozenset({b"desc", b"kuki", b"pakt", b"chan", b"data"})
_WAV_KEPT = frozenset({b"fmt ", b"fact", b"ds64"})
_AIFF_KEPT = frozenset({b"FVER", b"COMM", b"wave", b"SSND"})

_MP4_TAGS = frozenset({b"udta", b"meta", b"uuid", b"ID32"})
_MP4_LEVELS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"mvex"})
_MP4_BOXES = 65_536
"""On all levels of the index: 64 tracks have some 1,000. libavformat walks them all, as it does those on the top level."""


def caf(data: bytes) -> bytes:
    """Only its desc, kuki, pakt, chan and data."""
    kept = [data[:8]]
    for kind, start, end in _chunks(data, 8, struct.Struct(">4sq"), even=False):
        if kind in _CAF_KEPT:
            kept.append(data[start:end])
    return b"".join(kept)


def wav(data: bytes) -> bytes:
    """Only what says what the samples are, and they."""
    kept = [data[:12]]
    for kind, start, end in _chunks(data, 12, struct.Struct("<4sI"), even=True):
        if kind == b"data":  # what stands behind it is for others; without a length it goes to the end
            kept.append(data[start : end if end - start > 8 else len(data)])
            break
        if kind in _WAV_KEPT:
            kept.append(data[start:end])
    return b"".join(kept)


def aiff(data: bytes) -> bytes:
    """Only its FVER, COMM, wave and SSND."""
    kept = [data[:12]]
    for kind, start, end in _chunks(data, 12, struct.Struct(">4sI"), even=True):
        if kind in _AIFF_KEPT:
            kept.append(data[start:end])
    return b"".join(kept)


def flac(data: bytes) -> bytes:
    """The first block of its header, STREAMINFO, and the frames."""
    at, first = 4, b""
    for _ in range(_MAX_CHUNKS):
        if len(data) - at < 4:
            break
        (header,) = struct.unpack_from(">I", data, at)
        end = at + 4 + (header & 0xFFFFFF)
        first = first or data[at:end]
        at = end
        if header >> 31:
            break
    return data[:4] + bytes([first[0] | 0x80]) + first[1:] + data[at:] if first else data[:4]


def mp4(data: bytes) -> bytes:
    """The same file, its tags under a name that says nothing. Raises Mp4Error when its index has far too many boxes."""
    lean = bytearray(data)
    with memoryview(lean) as view:
        _rename_tags(view, Budget(_MP4_BOXES), top=True)
    return bytes(lean)


def _rename_tags(space: memoryview, budget: Budget, *, top: bool = False) -> None:
    at = 0
    for kind, content, _ in walk(space, budget, strict=False):
        header = 16 if bytes(space[at : at + 4]) == b"\0\0\0\1" else 8
        if kind in _MP4_TAGS:
            space[at + 4 : at + 8] = b"free"
        elif kind == b"moov" if top else kind in _MP4_LEVELS:
            _rename_tags(content, budget)
        at += header + len(content)


def _chunks(data: bytes, at: int, header: struct.Struct, *, even: bool) -> Iterator[tuple[bytes, int, int]]:
    """Type, where the chunk and the next one begin; a length that reaches too far means: to the end."""
    for _ in range(_MAX_CHUNKS):
        if len(data) - at < header.size:
            return
        kind, size = header.unpack_from(data, at)
        content = at + header.size
        end = content + size + (size & 1 if even else 0)
        if not 0 <= size <= len(data) - content:
            end = len(data)
        yield kind, at, end
        at = end
