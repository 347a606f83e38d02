"""PURE. EBML (RFC 8794), of which WebM and Matroska are made: an element is an id, a size and content.

Whatever is read is bounded by the bytes that are there; what is no element raises Broken, with a sentence that says why.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

UNKNOWN = -1
"""The size of an element that ends where the next one of its level begins."""


class Broken(ValueError):
    """These bytes are no element."""


def read_header(buffer: bytearray) -> tuple[int, int, int] | None:
    """(id, size or UNKNOWN, where the content begins); None when it is not there yet."""
    if not buffer:
        return None
    id_length = 9 - buffer[0].bit_length()
    if id_length > 4:
        raise Broken(f"no element begins with {buffer[0]:02X}")
    if len(buffer) <= id_length:
        return None
    size_length = 9 - buffer[id_length].bit_length()
    if size_length > 8:
        raise Broken("an element's size is longer than 8 bytes")
    end = id_length + size_length
    if len(buffer) < end:
        return None
    mask = (1 << (7 * size_length)) - 1
    size = int.from_bytes(buffer[id_length:end], "big") & mask
    return int.from_bytes(buffer[:id_length], "big"), UNKNOWN if size == mask else size, end


def read_vint(body: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    if at >= len(body):
        raise Broken("an element is cut off")
    length = 9 - body[at].bit_length()
    if length > 8 or at + length > len(body):
        raise Broken("a number is cut off")
    return int.from_bytes(body[at : at + length], "big") & ((1 << (7 * length)) - 1), at + length


def children(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements within one that is there as a whole."""
    at = 0
    while at < len(body):
        header = read_header(bytearray(body[at : at + 12]))
        if header is None:
            raise Broken("an element is cut off")
        kind, size, content = header
        if size == UNKNOWN or at + content + size > len(body):
            raise Broken(f"element {kind:X} is larger than the one around it")
        yield kind, body[at + content : at + content + size]
        at += content + size


def read_number(body: bytes) -> int:
    if len(body) > 8:
        raise Broken("a number is longer than 8 bytes")
    return int.from_bytes(body, "big")


def read_signed(body: bytes) -> int:
    if len(body) > 8:
        raise Broken("a number is longer than 8 bytes")
    return int.from_bytes(body, "big", signed=True)


def read_float(body: bytes) -> float:
    match len(body):
        case 0:
            return 0.0
        case 4:
            value: float = struct.unpack(">f", body)[0]
        case 8:
            value = struct.unpack(">d", body)[0]
        case _:
            raise Broken("a number has neither 4 nor 8 bytes")
    return value if 0 < value < 1e6 else 0.0
