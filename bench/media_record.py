"""PURE. What is measured of the transcoder's codecs, and the file that it goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bench.figures import Spread, percentile, spread

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


class Footprint(msgspec.Struct, frozen=True):
    """What a session takes while it is coded."""

    way: Way
    name: str
    kilobytes: float


class MediaRecord(msgspec.Struct):
    """All of a run."""

    codings: list[Coding] = msgspec.field(default_factory=list)
    latencies: list[Latency] = msgspec.field(default_factory=list)
    footprints: list[Footprint] = msgspec.field(default_factory=list)


def coding(way: Way, name: str, by: str, seconds: float, took_s: Sequence[float]) -> Coding:
    """`took_s`: of each round; none where it is not installed."""
    if not took_s:
        return Coding(way, name, by, None, None, seconds)
    real_time, each_ms = spread([seconds / took for took in took_s]), spread([1000 * took for took in took_s])
    return Coding(way, name, by, real_time, each_ms, seconds)


def latency(name: str, streams: int, chunk_ms: float, waits_s: Sequence[float], cpu_ms: float) -> Latency:
    waits_ms = [1000 * wait for wait in waits_s]
    return Latency(name, streams, chunk_ms, len(waits_ms), percentile(waits_ms, 50), percentile(waits_ms, 99), cpu_ms)
