"""PURE. What the worker and its decoder children say to each other over their socket pair.

A message is 4 bytes of length (big-endian) and that many of msgpack: a map with `op` and the fields of one of the
classes below. Every message about audio names its `stream`, so that an answer that nobody waits for any more is told
from the one that somebody does. The worker trusts a child as little as the bytes it decodes: all that does not
look exactly like a message is a WireError.

    worker                child
      ◀──────────────────  Ready           loaded, warmed and confined
      DecodeFile ────────▶
      ◀──────────────────  Progress …      each 5 s of audio
      ◀──────────────────  FileDecoded  or  Refused
      FeedStream … ──────▶
      ◀──────────────────  StreamHeard  or  Refused, to each
      CloseStream ───────▶
      ◀──────────────────  StreamHeard  or  Refused
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields
from typing import Any

import msgpack

from transcoder.limits import MAX_DECODED_S, MAX_FILE_BYTES

_HEADER = struct.Struct(">I")
HEADER_BYTES = _HEADER.size

MAX_MESSAGE_BYTES = max(MAX_FILE_BYTES, int(MAX_DECODED_S * 48_000)) + 4096
"""The largest file or the most PCM, and what stands around it."""

_MAX_SENTENCE = 1000


class WireError(ValueError):
    """Not a message of ours."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child takes jobs from now on. Which of the kernel's walls stand around it (`confine.Walls`), in words."""

    standing: str
    missing: str


@dataclass(frozen=True, slots=True)
class DecodeFile:
    stream: int
    data: bytes = field(repr=False)
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Still decoding: `decoded_s` seconds of audio so far."""

    stream: int
    decoded_s: float


@dataclass(frozen=True, slots=True)
class FileDecoded:
    """The fields of `Decoded` and of its `SourceInfo`."""

    stream: int
    pcm: bytes = field(repr=False)
    container: str
    codec: str
    sample_rate: int
    channels: int
    duration_s: float
    lost_packets: int


@dataclass(frozen=True, slots=True)
class FeedStream:
    """The next chunk of a stream, or its first. `lost`: something is missing before it."""

    stream: int
    source: str
    """as `transcoder.stream.demuxer_for` has it"""
    kept: bytes = field(repr=False)
    """where another child stood that had the stream: its first chunk here goes on from there; empty: it begins"""
    data: bytes = field(repr=False)
    lost: bool
    keep: bool
    """the answer is to hold what another child could go on from"""
    max_seconds: float


@dataclass(frozen=True, slots=True)
class CloseStream:
    """The stream has ended. `drop`: nobody wants what it still holds, and nothing is answered."""

    stream: int
    drop: bool
    max_seconds: float


@dataclass(frozen=True, slots=True)
class StreamHeard:
    """The fields of `Heard`; `what` names codec, rate and channels, once they are known."""

    stream: int
    pcm: bytes = field(repr=False)
    missing_s: float
    damaged: int
    what: str
    kept: bytes = field(repr=False)
    """where the stream stands after this chunk, if that was asked for and can be said"""


@dataclass(frozen=True, slots=True)
class Refused:
    """A MediaError: see `transcoder.errors.rebuild`."""

    stream: int
    code: str
    message: str
    facts: dict[str, float]


Request = DecodeFile | FeedStream | CloseStream
Message = Ready | Progress | FileDecoded | StreamHeard | Refused | Request

_OPS: dict[str, type[Message]] = {
    "ready": Ready,
    "decode_file": DecodeFile,
    "progress": Progress,
    "file_decoded": FileDecoded,
    "feed_stream": FeedStream,
    "close_stream": CloseStream,
    "stream_heard": StreamHeard,
    "refused": Refused,
}
_NAMES = {message: op for op, message in _OPS.items()}
_CHECKS: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "bool": bool,
    "float": (int, float),
    "str": str,
    "bytes": bytes,
    "dict[str, float]": dict,
}


def pack(message: Message) -> bytes:
    """The message with its length before it. Raises WireError when it is longer than any may be."""
    content: dict[str, Any] = {entry.name: getattr(message, entry.name) for entry in fields(message)}
    body: bytes = msgpack.packb(content | {"op": _NAMES[type(message)]})
    if len(body) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(body)} bytes")
    return _HEADER.pack(len(body)) + body


def body_bytes(header: bytes) -> int:
    """How long the body is that follows this header."""
    (size,) = _HEADER.unpack(header)
    if size > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {size} bytes")
    return int(size)


def unpack(body: bytes) -> Message:
    """The message in a body. Raises WireError."""
    try:
        content = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError("not msgpack") from error
    if not isinstance(content, dict) or not isinstance(op := content.pop("op", None), str) or op not in _OPS:
        raise WireError("no such message")
    message = _OPS[op]
    declared = {entry.name: _CHECKS[str(entry.type)] for entry in fields(message)}
    if declared.keys() != content.keys():
        raise WireError(f"a {op} has other fields")
    for name, types in declared.items():
        if not isinstance(content[name], types) or (isinstance(content[name], bool) and types is not bool):
            raise WireError(f"{name} of a {op} is no such thing")
    if op == "refused":
        _check_refused(content)
    return message(**content)


def _check_refused(content: dict[str, Any]) -> None:
    if len(content["message"]) > _MAX_SENTENCE:
        raise WireError("a sentence without end")
    for name, value in content["facts"].items():
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise WireError("a fact that is no number")
