"""PURE. The boxes that files and streams of the MP4 family are made of (ISO 14496-12).

A box is 4 bytes of size (1: 8 more follow the type; 0: to the end), 4 of type, then the content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator


class Mp4Error(ValueError):
    """The index is missing, cut off or damaged; the text says which."""


class Budget:
    """How many boxes may still be looked at."""

    def __init__(self, boxes: int) -> None:
        self._left = boxes

    def spend(self) -> None:
        if self._left == 0:
            raise Mp4Error("it has far too many boxes")
        self._left -= 1


def walk(space: memoryview, budget: Budget, *, strict: bool = True) -> Iterator[tuple[bytes, memoryview, bool]]:
    """The boxes of one level: type, content, and whether all of it is there.

    What is no box ends the level: quietly on the top level, where recorders leave all sorts of things behind.
    """
    at = 0
    while len(space) - at >= 8:
        budget.spend()
        size, kind = struct.unpack_from(">I4s", space, at)
        header = 8
        if size == 1:
            if len(space) - at < 16:
                return
            (size,) = struct.unpack_from(">Q", space, at + 8)
            header = 16
        elif size == 0:
            size = len(space) - at
        if size < header:
            if not strict:
                return
            raise Mp4Error(f"its box {kind.decode('latin-1')!r} is damaged: {size} bytes are less than its header")
        end = min(at + size, len(space))
        yield kind, space[at + header : end], at + size <= len(space)
        at += size


def find(space: memoryview, wanted: bytes, budget: Budget) -> memoryview | None:
    return next((content for kind, content, _ in walk(space, budget) if kind == wanted), None)


def field(box: memoryview, at: int, size: int, name: str) -> memoryview:
    if len(box) < at + size:
        raise Mp4Error(f"its box {name!r} is cut short")
    return box[at : at + size]
