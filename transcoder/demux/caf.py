"""PURE. The head of an Apple Core Audio file: what it is coded in, and which part of it was recorded.

Apple's *Core Audio Format Specification*: a file header of 8 bytes, then chunks, each 4 bytes of type and 8 of size (of
`data` alone it may be -1: to the end). Of them `desc` names the codec, and `pakt` says how many frames are valid, and
how many lie before them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from transcoder.trim import Span

_MAX_CHUNKS = 1024
_CHUNK = struct.Struct(">4sq")
_DESCRIPTION = struct.Struct(">d4s")
_PACKET_TABLE = struct.Struct(">qqii")


class CafError(ValueError):
    """No head of a CAF file; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    codec: str
    """the format's four letters: "lpcm", "alac", "aac ", "opus" """
    span: Span


def read_head(data: bytes) -> Head:
    """Raises CafError, and nothing else."""
    codec, rate, span = "", 0, None
    for kind, content in _chunks(memoryview(data)):
        if kind == b"desc" and len(content) >= _DESCRIPTION.size:
            frequency, letters = _DESCRIPTION.unpack_from(content)
            rate, codec = round(frequency) if 1 <= frequency < 1e9 else 0, letters.decode("latin-1")
        elif kind == b"pakt" and rate and len(content) >= _PACKET_TABLE.size:
            _, valid, priming, _ = _PACKET_TABLE.unpack_from(content)
            if valid > 0 and priming >= 0:
                span = Span(priming, priming + valid, rate)
    if not rate:
        raise CafError("it does not say what it is coded in (desc)")
    return Head(codec, span or Span(0, None, rate))


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 8
    for _ in range(_MAX_CHUNKS):
        if len(data) - at < _CHUNK.size:
            return
        kind, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        end = at + size if 0 <= size <= len(data) - at else len(data)
        yield kind, data[at:end]
        at = end
