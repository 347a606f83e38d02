"""PURE. What a demuxer of a streamed container makes of its bytes, whatever the container is.

A demuxer is fed with chunks, cut anywhere, and gives what has become complete: at first what the stream is (`Track`), then
its coded `Packet`s, and `Damage` where bytes made no sense and it had to look for the next place at which they do. It does
no I/O, believes no length field beyond the bytes that are there, and holds at most one element that is not complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

MAX_ELEMENT_BYTES = 1 << 20
"""Of one element that has to be there as a whole. A minute of Opus in one block is a third of it."""

MAX_IDLE_ELEMENTS = 100_000
"""In a row, of which none brings sound: ten minutes of a film's pictures are a fifth of it. Stepping over so many takes a
tenth of a second."""

Codec = Literal["opus", "aac", "mp3", "flac", "vorbis", "alac", "pcm"]


@dataclass(frozen=True, slots=True)
class Track:
    """What the packets that follow are coded in."""

    codec: Codec
    sample_rate: int
    """Hertz at which `priming` and a packet's `padding` count"""
    channels: int
    extradata: bytes = field(default=b"", repr=False)
    """what libavcodec wants to know beforehand, in its own form"""
    priming: int = 0
    """samples at the start that were never recorded"""
    pcm: str = ""
    """of `pcm`: libavcodec's name for it"""


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded packet."""

    data: bytes = field(repr=False)
    time_s: float | None = None
    """where the container says that it begins, in seconds; None where it does not say"""
    padding: int = 0
    """samples at its end that were never recorded"""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that made no sense were passed over."""

    why: str


Event = Track | Packet | Damage


class Demuxer(Protocol):
    """Incremental: `feed` as chunks come, `close` at the end."""

    def feed(self, chunk: bytes) -> list[Event]:
        """What has become complete by these bytes. Raises DemuxError when nothing can come of this stream any more."""

    def close(self) -> list[Event]:
        """Nothing comes any more: what was held back, and `Damage` for what was not complete."""

    def resync(self) -> None:
        """Bytes are missing here: go on at the next place that can be recognised."""


class DemuxError(ValueError):
    """No demuxer can make anything of this stream; the text says why."""
