"""A transcoder in this process, answers for it to code, and a client of packets as the documentation has it."""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

import av

from runtime.embedded import EmbeddedServer
from streams.dispatch import Assignments
from streams.hub import open_hub
from streams.workforce import Workforce
from tests.contract.doors.stage import Bridge
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.encoder import Codec
from transcoder.sandbox import DecoderPool
from transcoder.stream import StreamDecoder
from transcoder.worker import Resources, SessionTranscoder

LIMIT_S = 20.0

SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()[: 3 * 48_000]
"""What is answered: three seconds."""


@asynccontextmanager
async def transcoding(redis: EmbeddedServer) -> AsyncIterator[None]:
    """As `transcoder.service` does, but for decoder children: nothing that is sent here needs one."""
    stop = asyncio.Event()
    async with open_hub(redis.url) as hub:
        assignments = Assignments(hub, "transcoder", token_hex(4))
        await assignments.open()
        resources = Resources(hub, DecoderPool(1))
        workforce = Workforce(assignments, lambda assignment: SessionTranscoder(assignment.session, resources), 100)
        task = asyncio.create_task(workforce.run(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, LIMIT_S)


async def begin(bridge: Bridge, pcm: bytes, answer: str, first: int = 0, upto: int | None = None) -> None:
    """Some of an answer's tenths of a second."""
    for at in range(0, len(pcm), 4_800)[first:upto]:
        await bridge.say_audio(pcm[at : at + 4_800], response=f"r{answer}", item=f"i{answer}", start_ms=at // 48)


async def end(bridge: Bridge, answer: str) -> None:
    await bridge.say_event(
        "response.output_audio.done", response_id=f"r{answer}", item_id=f"i{answer}", content_index=0, output_index=0
    )
    await bridge.say_text(f"text {answer}", response=f"r{answer}")
    await bridge.say_done(response=f"r{answer}")


async def say(bridge: Bridge, pcm: bytes, answer: str) -> None:
    await begin(bridge, pcm, answer)
    await end(bridge, answer)


@dataclass(frozen=True, slots=True)
class Packets:
    """A frame of the openai door."""

    is_tail: bool
    part: int
    did: str
    position: int
    samples: int
    padding: int
    item: str
    packets: list[bytes]


def read_frame(frame: bytes) -> Packets:
    version, flags, part, left, right, position, samples, padding, named = struct.unpack_from(">BBHQQiHHB", frame)
    assert version == 1
    assert flags in (0, 1)
    at = 29 + named
    packets: list[bytes] = []
    while at < len(frame):
        size = int.from_bytes(frame[at : at + 2], "big")
        packets.append(frame[at + 2 : at + 2 + size])
        at += 2 + size
    assert at == len(frame)
    return Packets(flags == 1, part, f"{left}-{right}", position, samples, padding, frame[29 : 29 + named].decode(), packets)


def sound(codec: Codec, frames: list[Packets]) -> bytes:
    """PCM16 24 kHz of one part, from its beginning to its end or as far as it was said."""
    decoder = StreamDecoder("opus" if codec == "opus" else "stream")
    expected, pcm = frames[0].position, b""
    for frame in frames:
        assert frame.position == expected, "something is missing, or comes twice"
        expected += frame.samples * len(frame.packets)
        for packet in frame.packets:
            pcm += decoder.feed(packet, max_seconds=1e9).pcm
    pcm += decoder.close(max_seconds=1e9).pcm
    return pcm[-2 * frames[0].position : len(pcm) - 2 * frames[-1].padding]


def played(file: bytes, container: str, rate: int) -> bytes:
    """What a player gives of a file."""
    pcm = b""
    with av.open(io.BytesIO(file), "r", format=container) as opened:
        resampler = av.AudioResampler("s16", "mono", rate)
        for frame in opened.decode(audio=0):
            for made in resampler.resample(frame):
                pcm += bytes(made.planes[0])[: 2 * made.samples]
    return pcm


def assert_is(pcm: bytes, expected: bytes) -> None:
    heard, said = as_samples(pcm), as_samples(expected)
    assert abs(lag(heard, said)) <= 1  # a player at 48 kHz is half a sample off
    assert correlation(heard, said) >= 0.95


def assert_says(file: bytes, audio_format: str, rate: int = 24_000, said: bytes = SPEECH) -> None:
    """As `rate` has it: exactly as long in Ogg and PCM, and behind its priming in ADTS."""
    if audio_format == "opus":
        heard = played(file, "ogg", 48_000)
        assert len(heard) == 2 * len(said)
        assert_is(as_samples(heard)[::2].astype("<i2").tobytes(), said)
    elif audio_format == "aac":
        heard = played(file, "aac", 24_000)
        assert 0 <= len(heard) // 2 - 1024 - len(said) // 2 < 1024
        assert_is(heard[2048:], said)
    else:
        assert len(file) == len(said) * rate // 24_000
        assert_is(as_samples(file)[:: rate // 24_000].astype("<i2").tobytes(), said)


def assert_seamless(before: bytes, behind: bytes) -> None:
    """These two in AAC, each decoded for itself, are all of SPEECH: the second begins with the last packet of the first."""
    one, two = (played(file, "aac", 24_000) for file in (before, behind))
    joined, seam = as_samples(one + two[2_048:])[1_024:], len(one) // 2 - 1_024
    said = as_samples(SPEECH)
    assert 0 <= len(joined) - len(said) < 1_024
    assert correlation(joined[: len(said)], said) >= 0.95
    assert correlation(joined[seam : seam + 480], said[seam : seam + 480]) >= 0.9
