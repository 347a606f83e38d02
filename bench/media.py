"""How fast the transcoder reads and makes what clients send and hear, beside `pydub` and `ffmpeg` in the same run.

Every round measures all of it once, one after the other, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from bench import media_peers as peers
from bench import media_sessions
from bench.media_record import Footprint, MediaRecord, SessionCost, Way, coding, latency
from cli.load import processes
from streams import down
from streams.keys import PLAY_CODECS, PlayCodec
from tests.media.make_media import STREAMS, make_clip, make_stream, speech
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.pipeline import decode_file
from transcoder.play import PlayEncoder
from transcoder.sandbox import DecoderPool
from transcoder.stream import StreamDecoder
from transcoder.stream_pool import DecodedStream, StreamPool

HERE, CHILD, PYDUB, FFMPEG = "in process", "decoder child", "pydub", "ffmpeg"

STREAM_S = 20.0
SLICE_S = 1.0
SLICES = 20
"""A round: one alone is over too soon."""
ENDLESS_S = 1e6
ENTRY_BYTES = 4_800
LIVE = ("live_opus.webm", "aac.mp4", "opus.ogg")
"""What browsers send, and one more."""
CHUNK_S = 0.25
"""As a MediaRecorder is mostly asked to."""
SESSIONS = 100
"""For the memory that each takes."""


@dataclass(frozen=True, slots=True)
class MediaPlan:
    rounds: int = 5
    live_s: float = 8.0
    """of each measurement of latency"""
    streams: tuple[int, ...] = (1, 40)
    lives: int = 3
    """measurements of each latency"""


QUICK = MediaPlan(2, 2.0, (1, 10), 1)

_Key = tuple[Way, str, str, float]


class Media:
    """One run."""

    def __init__(self, plan: MediaPlan) -> None:
        self._plan = plan
        self._streams = {name: make_stream(name, STREAM_S) for name in STREAMS}
        self._pcm = speech("speech_jfk", SAMPLE_RATE, "mono").astype("<i2").tobytes()
        self._clip = make_clip(rate=44_100, samples=round(SLICE_S * 44_100)).data
        self._segment, self._ffmpeg = peers.pydub(), peers.ffmpeg()
        self._took: defaultdict[_Key, list[float]] = defaultdict(list)

    async def run(self, told: Callable[[str], None]) -> MediaRecord:
        """Measure all of it; `told` is told where it is."""
        record = MediaRecord()
        async with DecoderPool(1) as files:
            for number in range(self._plan.rounds):
                told(f"round {number + 1} of {self._plan.rounds}")
                await self._slice(files)
                for name, data in self._streams.items():
                    self._time(("in", name, HERE, STREAM_S), lambda data=data: _decode(data))  # type: ignore[misc]
                for codec in PLAY_CODECS:
                    self._out(codec)
        record.codings = [coding(*key, took) for key, took in self._took.items()]
        for name in LIVE:
            for count in self._plan.streams:
                told(f"{count} streams of {name}")
                lives = [await self._live(self._streams[name], count) for _ in range(self._plan.lives)]
                record.latencies.append(latency(name, count, 1000 * CHUNK_S, lives))
        for both in (False, True):
            for count in self._plan.streams:
                told(f"{count} sessions, Opus {'both ways' if both else 'in'}")
                record.sessions.append(await self._sessions(count, both=both))
        told("memory")
        record.footprints = [await self._held(name) for name in LIVE] + [self._made(codec) for codec in ("opus", "aac")]
        return record

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _slice(self, pool: DecoderPool) -> None:
        """What contract after contract sends: a second in an M4A."""
        clip, name = self._clip, f"m4a, {SLICE_S:g} s"
        for _ in range(SLICES):
            self._time(("in", name, HERE, SLICE_S), lambda: decode_file(clip, max_seconds=60))
        for _ in range(SLICES):
            await self._time_async(("in", name, CHILD, SLICE_S), lambda: pool.decode_file(clip, max_seconds=60))
        segment, program = self._segment, self._ffmpeg
        pydub = None if segment is None else lambda: peers.pydub_decode(segment, clip, "m4a")
        ffmpeg = None if program is None else lambda: peers.ffmpeg_decode(program, clip)
        self._time(("in", name, PYDUB, SLICE_S), pydub)
        self._time(("in", name, FFMPEG, SLICE_S), ffmpeg)

    async def _live(self, data: bytes, count: int) -> tuple[list[float], float]:
        """Each stream sends a chunk every CHUNK_S, none at the same moment as another. (waits, CPU of a stream-second)"""
        async with StreamPool(1) as pool:
            return await self._live_in(pool, data, count)

    async def _live_in(self, pool: StreamPool, data: bytes, count: int) -> tuple[list[float], float]:
        chunks = list(chunks_of(data, int(len(data) * CHUNK_S / STREAM_S)))[: int(self._plan.live_s / CHUNK_S)]
        waits: list[float] = []
        loop = asyncio.get_running_loop()
        begin = loop.time() + 0.1

        async def send(number: int) -> None:
            stream = pool.open("stream")
            for n, chunk in enumerate(chunks):
                await asyncio.sleep(begin + (n + number / count) * CHUNK_S - loop.time())
                sent = time.perf_counter()
                await stream.feed(chunk, max_seconds=60)
                waits.append(time.perf_counter() - sent)
            await stream.drop()

        before = processes.cpu(os.getpid())
        await asyncio.gather(*(send(number) for number in range(count)))
        after = processes.cpu(os.getpid())
        spent_ms = after.own + after.children - before.own - before.children
        return waits, spent_ms / (count * len(chunks) * CHUNK_S)

    async def _sessions(self, count: int, *, both: bool) -> SessionCost:
        """Of Redis and all: a transcoder that runs."""
        data = self._streams[LIVE[0]]
        chunks = list(chunks_of(data, int(len(data) * CHUNK_S / STREAM_S)))
        said = (self._pcm * 2)[: round(STREAM_S * SAMPLE_RATE) * BYTES_PER_SAMPLE]
        return await media_sessions.measure(chunks, said, sessions=count, seconds=self._plan.live_s, both=both)

    async def _held(self, name: str) -> Footprint:
        """What a child takes more with SESSIONS streams in it, each some way in."""
        first = self._streams[name][: len(self._streams[name]) // 10]
        async with StreamPool(1) as pool:

            async def hold() -> DecodedStream:
                stream = pool.open("stream")
                await stream.feed(first, max_seconds=60)
                return stream

            held = [await hold()]
            before = processes.memory(pool.pids[0]).rss
            held += [await hold() for _ in range(SESSIONS)]
            after = processes.memory(pool.pids[0]).rss
            for stream in held:
                await stream.drop()
        return Footprint("in", name, (after - before) * 1024 / SESSIONS)

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _out(self, codec: PlayCodec) -> None:
        seconds = len(self._pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
        self._time(("out", codec, HERE, seconds), lambda: _encode(codec, self._pcm))
        if codec in ("opus", "aac"):
            segment, program = self._segment, self._ffmpeg
            pydub = None if segment is None else lambda: peers.pydub_encode(segment, self._pcm, codec)
            ffmpeg = None if program is None else lambda: peers.ffmpeg_encode(program, self._pcm, codec)
            self._time(("out", codec, PYDUB, seconds), pydub)
            self._time(("out", codec, FFMPEG, seconds), ffmpeg)

    def _made(self, codec: PlayCodec) -> Footprint:
        """What this process takes more with SESSIONS answers that are half said."""
        first = self._pcm[:48_000]
        held = [_encode(codec, first)]
        before = processes.memory(os.getpid()).rss
        held += [_encode(codec, first) for _ in range(SESSIONS)]
        after = processes.memory(os.getpid()).rss
        return Footprint("out", codec, (after - before) * 1024 / (len(held) - 1))

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _time(self, key: _Key, work: Callable[[], object] | None) -> None:
        """Of one round; nothing of what cannot be done here."""
        took = self._took[key]
        if work is not None:
            begin = time.perf_counter()
            work()
            took.append(time.perf_counter() - begin)

    async def _time_async(self, key: _Key, work: Callable[[], Awaitable[object]]) -> None:
        begin = time.perf_counter()
        await work()
        self._took[key].append(time.perf_counter() - begin)


def chunks_of(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _decode(data: bytes) -> StreamDecoder:
    decoder = StreamDecoder()
    for chunk in chunks_of(data, int(len(data) * CHUNK_S / STREAM_S)):
        decoder.feed(chunk, max_seconds=ENDLESS_S)
    decoder.close(max_seconds=ENDLESS_S)
    return decoder


def _encode(codec: PlayCodec, pcm: bytes) -> PlayEncoder:
    """As the worker does: a tenth of a second at a time."""
    encoder = PlayEncoder(codec)
    for at in range(0, len(pcm), ENTRY_BYTES):
        encoder.encode(down.Audio("r", "i", 0, at // 48, pcm[at : at + ENTRY_BYTES]))
    return encoder
