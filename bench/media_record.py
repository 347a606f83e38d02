"""PURE. What is measured of the transcoder's codecs, and the file that it goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from cli.load.figures import Spread, percentile, spread

Way = Literal["in", "out"]


class Coding(msgspec.Struct, frozen=True):
    """How fast one format is read or made."""

    way: Way
    name: str
    by: str
    """who does it: this process, a decoder child, or somebody else's program"""
    real_time: Spread | None
    """seconds of sound in a second of work; None: it is not installed"""
    each_ms: Spread | None
    """for all of it, as long as it is"""
    seconds: float
    """of sound"""


class Latency(msgspec.Struct, frozen=True):
    """From a chunk in to its PCM out, through a decoder child, while so many streams send theirs in real time."""

    name: str
    streams: int
    chunk_ms: float
    chunks: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """of worker and child, for a second of one stream"""
    worst_p99_ms: float | None = None
    """of several measurements, of which the others are medians: here a machine shows that stood still for a moment"""


class Footprint(msgspec.Struct, frozen=True):
    """What a session takes while it is coded."""

    way: Way
    name: str
    kilobytes: float


class SessionCost(msgspec.Struct, frozen=True):
    """CPU of a transcoder that runs, for a second of one session."""

    both: bool
    """Opus in and Opus out, else in only"""
    sessions: int
    """at a time"""
    seconds: float
    worker_ms: float
    children_ms: float
    busy: float = 0.0
    """percent of all cores of the machine; this process is among them, which says and hears it all"""
    in_ms: tuple[float, float] | None = None
    """p50 and p99 from a chunk's appending to its sound in `pcm`"""
    out_ms: tuple[float, float] | None = None
    """the same from a tenth of a second of an answer in `down` to its packets; None: nothing is made"""

    @property
    def a_core(self) -> float:
        """Sessions that a core has time for."""
        return 1000 / max(self.worker_ms + self.children_ms, 0.01)


class MediaRecord(msgspec.Struct):
    """All of a run."""

    codings: list[Coding] = msgspec.field(default_factory=list)
    latencies: list[Latency] = msgspec.field(default_factory=list)
    footprints: list[Footprint] = msgspec.field(default_factory=list)
    sessions: list[SessionCost] = msgspec.field(default_factory=list)


def coding(way: Way, name: str, by: str, seconds: float, took_s: Sequence[float]) -> Coding:
    """`took_s`: of each round; none where it is not installed."""
    if not took_s:
        return Coding(way, name, by, None, None, seconds)
    real_time, each_ms = spread([seconds / took for took in took_s]), spread([1000 * took for took in took_s])
    return Coding(way, name, by, real_time, each_ms, seconds)


def latency(name: str, streams: int, chunk_ms: float, rounds: Sequence[tuple[Sequence[float], float]]) -> Latency:
    """`rounds`: the waits of each, in seconds, and its CPU time, of worker and child, for a second of one stream."""
    p50, p99 = (spread([1000 * percentile(waits, percent) for waits, _ in rounds]) for percent in (50, 99))
    cpu_ms, chunks = spread([cpu_ms for _, cpu_ms in rounds]), sum(len(waits) for waits, _ in rounds)
    return Latency(name, streams, chunk_ms, chunks, p50.median, p99.median, cpu_ms.median, p99.high)
