"""The iOS door, in AAC and Opus: an endless file at the pace at which it is played."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import av
import numpy as np
import pytest

from gateway.packet_pacer import AAC
from runtime.embedded import EmbeddedServer
from streams import down
from streams.coding import Coding
from streams.consumer import read
from streams.keys import PlayCodec
from streams.play import coding_of, open_play
from streams.sessions import Session
from tests.contract.doors.coded_stage import LIMIT_S, SPEECH, begin, played, say, transcoding
from tests.contract.doors.ios_stage import KeptConnection, WavStream, kept, listening
from tests.contract.doors.stage import Bridge, Stage
from tests.media.make_media import Samples, as_samples, correlation

RATE = 24_000
SAID = SPEECH[: 2 * 48_000]
CHUNK = bytes(1_280)

FORMATS: list[tuple[PlayCodec, str, str | None, str]] = [
    ("aac", "", "audio/aac", "audio/aac"),
    ("aac", "?audio_format=aac", None, "audio/aac"),
    ("opus", "?sampleRate=16000", "audio/ogg, */*;q=0.1", "audio/ogg"),
]


@pytest.fixture(autouse=True)
async def transcoder(redis_server: EmbeddedServer, stage: Stage) -> AsyncIterator[None]:
    async with transcoding(redis_server):
        yield


@pytest.fixture
async def app(stage: Stage) -> AsyncIterator[KeptConnection]:
    async with kept(stage.url) as connection:
        yield connection


async def said_and_coded(stage: Stage, session: Session, codec: PlayCodec) -> Bridge:
    """An answer, which can be played without a pause: who reads it from now on has it at once."""
    bridge = await stage.bridge(session)
    await open_play(stage.redis, session, codec)
    await say(bridge, SAID, "1")
    async with asyncio.timeout(LIMIT_S):
        while True:
            entries = await read(stage.redis, session.keys.play(codec), down.decoder)
            if any(isinstance(one.message, down.ServerEvent) and one.message.type == "response.done" for one in entries):
                return bridge
            await asyncio.sleep(0.01)


def adts(file: bytes) -> list[bytes]:
    """The frames that are whole."""
    frames: list[bytes] = []
    at = 0
    while at + 7 <= len(file):
        assert file[at : at + 2] == b"\xff\xf1"
        size = int.from_bytes(file[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        frames.append(file[at : at + size])
        at += size
    return frames if at == len(file) else frames[:-1]


def seconds(file: bytes, codec: PlayCodec) -> float:
    """How long what has come plays."""
    if codec == "aac":
        return len(adts(file)) * AAC.samples / RATE
    last = file.rfind(b"OggS")
    return int.from_bytes(file[last + 6 : last + 14], "little", signed=True) / 48_000 if last >= 0 else 0.0


def sound(file: bytes, codec: PlayCodec) -> Samples:
    """At 24 kHz."""
    return as_samples(played(file, "aac", RATE)) if codec == "aac" else as_samples(played(file, "ogg", 2 * RATE))[::2]


def packets(file: bytes) -> set[int]:
    """How many samples at 48 kHz each packet of an Ogg lasts."""
    with av.open(io.BytesIO(file), "r", format="ogg") as container:
        return {packet.duration or 0 for packet in container.demux(audio=0) if packet.size}


def place(heard: Samples, said: Samples) -> int:
    """Where in what was heard it is what was said."""
    size = 1 << (len(heard) + len(said)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    return int(np.argmax(cross[: len(heard)]))


@pytest.mark.parametrize(("codec", "query", "accept", "content_type"), FORMATS)
async def test_an_answer_is_played_between_silence(
    app: KeptConnection, stage: Stage, codec: PlayCodec, query: str, accept: str | None, content_type: str
) -> None:
    """One file that plays; at no time more of it than the time and 200 ms; all that was said, to the end of the session."""
    sid = await app.create()
    await app.upload(sid, CHUNK)
    session = await stage.session("anonymous", sid)
    bridge = await said_and_coded(stage, session, codec)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with listening(stage.url, sid, query, accept) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == content_type
        assert stream.headers["transfer-encoding"] == "chunked"
        assert stream.headers["x-accel-buffering"] == "no"
        while seconds(stream.file, codec) < len(SAID) / 48_000 + 0.3:
            assert await stream.read()
            assert seconds(stream.file, codec) <= loop.time() - begun + 0.2
        await bridge.say(down.Ended("client_ended"))
        await stream.until_over()
    heard, said = sound(stream.file, codec), as_samples(SAID)
    at = place(heard, said)
    assert at >= 0
    assert correlation(heard[at : at + len(said)], said) >= 0.95
    assert abs(len(heard) / RATE - seconds(stream.file, codec)) < 1e-3


@pytest.mark.parametrize("frame_ms", [20, 40, 60])
async def test_the_client_says_what_a_packet_costs_and_lasts(app: KeptConnection, stage: Stage, frame_ms: int) -> None:
    """When it creates the session, and more when it listens; what was asked first holds for the conversation."""
    sid = await app.create(audio_format="opus", bitrate=12_000, frame_ms=frame_ms)
    await app.upload(sid, CHUNK)
    session = await stage.session("anonymous", sid)
    async with listening(stage.url, sid, "?bitrate=16000", "*/*") as stream:
        assert stream.headers["content-type"] == "audio/ogg"
        assert await coding_of(stage.redis, session, "opus") == Coding(16_000, frame_ms)
    bridge = await said_and_coded(stage, session, "opus")
    async with listening(stage.url, sid, "?bitrate=16000", "*/*") as stream:
        await bridge.say(down.Ended("client_ended"))
        await stream.until_over()
    heard, said = sound(stream.file, "opus"), as_samples(SAID)
    at = place(heard, said)
    assert correlation(heard[at : at + len(said)], said) >= 0.9
    assert abs(len(heard) / RATE - seconds(stream.file, "opus")) < 1e-3
    assert packets(stream.file) == {48 * frame_ms}
    async with listening(stage.url, sid, "?frame_ms=30") as refused:
        assert refused.status == 400


async def until(stream: WavStream, silent: int, last: bytes) -> None:
    """So many frames in a row are this one."""
    while adts(stream.file)[-silent:] != [last] * silent:
        assert await stream.read()


async def test_silence_is_packets_too(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create()
    async with listening(stage.url, sid, accept="audio/aac") as stream:
        await until(stream, 10, AAC.silence)
        assert set(adts(stream.file)) == {AAC.silence}


async def test_an_interruption_cuts_over(app: KeptConnection, stage: Stage) -> None:
    """At once, to silence, and then to the next answer; what comes late of the one before is not heard."""
    sid = await app.create()
    async with listening(stage.url, sid, "?audio_format=aac") as stream:
        session = await stage.session("anonymous", sid)
        bridge = await stage.bridge(session)
        for _ in range(10):
            await begin(bridge, SPEECH, "0")
        while len([frame for frame in adts(stream.file) if frame != AAC.silence]) < 5:
            assert await stream.read()
        await bridge.say(down.Interrupted("i0", 0, 200))
        await begin(bridge, SPEECH, "0", 0, 5)
        await until(stream, 5, AAC.silence)
        assert len([frame for frame in adts(stream.file) if frame != AAC.silence]) * AAC.samples < 20 * RATE
        said_before = len(adts(stream.file))
        await say(bridge, SAID[:24_000], "2")
        while not any(frame != AAC.silence for frame in adts(stream.file)[said_before:]):
            assert await stream.read()


async def test_a_wav_may_have_the_rate_of_the_devices_own_clock(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create(sampleRate=48_000)
    await app.upload(sid, CHUNK)
    bridge = await said_and_coded(stage, await stage.session("anonymous", sid), "pcm16_48000")
    async with listening(stage.url, sid) as stream:
        await bridge.say(down.Ended("client_ended"))
        await stream.until_over()
    heard, said = as_samples(stream.pcm)[::2], as_samples(SAID)
    at = place(heard, said)
    assert correlation(heard[at : at + len(said)], said) >= 0.99


async def test_without_asking_it_is_the_wav(app: KeptConnection, stage: Stage) -> None:
    """Also to a client that takes anything; and what there is not is told."""
    sid = await app.create()
    for accept in (None, "*/*", "audio/wav, audio/aac"):
        async with listening(stage.url, sid, accept=accept) as stream:
            assert stream.headers["content-type"] == "audio/wav"
            await stream.until_bytes(100)
            assert stream.header[:4] == b"RIFF"
    refused = await app.get(f"/api/sessions/{sid}/stream_audio?audio_format=mp3")
    assert refused.status == 400
    assert "aac" in refused.json["error"]
