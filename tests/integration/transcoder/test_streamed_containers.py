"""Streamed containers, packets and samples → `pcm`: exact, told what is missing, and whole however often a decoder dies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from streams import checkpoint, pcm, turns, up
from streams.consumer import Consumer, last_id
from streams.dispatch import hand_out
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import Clear, Commit, End, Message, Text
from streams.producer import open_left
from streams.sessions import Session, Sessions, now_ms
from tests.integration.transcoder.streaming import Made, finish, made, noise, say, until_made
from tests.integration.transcoder.test_going_on import assert_alike
from tests.integration.transcoder.test_stream import FILES, RECORDED, decode, stream
from tests.media.make_media import STREAMS
from transcoder.demux.packets import Packet
from transcoder.demux.webm import WebmDemuxer
from transcoder.lifetime import Lifetime
from transcoder.sandbox import DecoderPool
from transcoder.stream import StreamDecoder
from transcoder.stream_pool import StreamPool
from transcoder.worker import Resources, SessionTranscoder

LIMIT_S = 60


@pytest.fixture
async def resources(hub: Hub) -> AsyncIterator[Resources]:
    async with StreamPool() as streams:
        yield Resources(hub, DecoderPool(1), streams=streams)  # no files: that pool stays closed


async def new_session(hub: Hub, source: str = "stream") -> Session:
    about = turns.Opened(user=os.urandom(4).hex(), door="openai")
    return (await Sessions(hub.redis).create(about, "c", source=source)).session


async def transcode(resources: Resources, session: Session) -> list[Made]:
    assert await asyncio.wait_for(SessionTranscoder(session, resources).run(), LIMIT_S)
    return await made(resources.hub, session)


async def until_said(hub: Hub, session: Session, message: Message) -> None:
    async with Consumer(hub.redis, hub.bus, session.keys.pcm, pcm.decoder) as entries:
        async for entry in entries:
            if entry.message == message:
                return


async def heard_of(resources: Resources, chunks: Iterable[bytes], source: str = "stream") -> list[Made]:
    session = await new_session(resources.hub, source)
    await say(resources.hub, session, [*map(up.Chunk, chunks), End("done")])
    return await transcode(resources, session)


def audio(pieces: Sequence[Made]) -> bytes:
    """All of it; its offsets have no hole."""
    parts = [message for _, message in pieces if isinstance(message, pcm.Audio)]
    assert all(a.offset is not None and b.offset == a.offset + a.samples for a, b in pairwise(parts))
    return b"".join(part.audio for part in parts)


def others(pieces: Sequence[Made]) -> list[Message]:
    return [message for _, message in pieces if not isinstance(message, pcm.Audio)]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def as_recorded(name: str) -> list[bytes]:
    """The browser's own chunks."""
    data, chunks = stream(name), []
    for size in json.loads((RECORDED / f"{name}.json").read_text()):
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data] if data else chunks


async def test_streams_of_every_kind_at_once_each_hear_themselves(resources: Resources) -> None:
    """Real browsers' chunks and made ones, apart from each other, and as one decoder alone would have it, to the bit."""
    chunked = {name: as_recorded(name) for name in FILES} | {name: cut(stream(name), 700) for name in STREAMS}
    heard = await asyncio.gather(*(heard_of(resources, chunks) for chunks in chunked.values()))
    for name, pieces in zip(chunked, heard, strict=True):
        assert audio(pieces) == decode([stream(name)]), name
        assert others(pieces) == [End("done")]


async def test_raw_packets_stay_one_an_entry(resources: Resources) -> None:
    packets = [event.data for event in WebmDemuxer().feed(stream("live_opus.webm")) if isinstance(event, Packet)]
    assert audio(await heard_of(resources, packets, "opus")) == decode(packets, "opus")


@pytest.mark.parametrize("source", ["pcm_f32le 48000 2", "pcm_mulaw 8000", "pcm_alaw 8000 1", "pcm_s16le 44100 2"])
async def test_samples_of_other_kinds_are_taken(resources: Resources, source: str) -> None:
    data = noise(40_000) if source != "pcm_f32le 48000 2" else np.linspace(-1, 1, 40_000, dtype="<f4").tobytes()
    heard = audio(await heard_of(resources, cut(data, 1_001), source))
    assert heard == decode([data], source)
    assert heard


async def test_control_keeps_its_place_and_ends_no_stream(resources: Resources) -> None:
    """Turns end where they end; the decoder and the phase of the resampler live on."""
    session = await new_session(resources.hub)
    first, second, third = cut(stream("live_opus.webm"), 6_000)[:3]
    said = [up.Chunk(first), Commit(), Text("hi"), up.Chunk(b""), up.Chunk(second), Clear(), up.Chunk(third), End("x")]
    await say(resources.hub, session, said)
    pieces = await transcode(resources, session)
    assert audio(pieces) == decode([first + second + third])
    names = [type(message).__name__ for _, message in pieces]
    assert [a for a, b in zip(names, [None, *names], strict=False) if a != b] == [
        "Audio", "Commit", "Text", "Audio", "Clear", "Audio", "End",
    ]  # fmt: skip


async def test_a_header_alone_and_empty_chunks_and_one_huge_one(resources: Resources) -> None:
    data = stream("opus.webm")
    header = data[:300]
    assert not decode([header])
    assert audio(await heard_of(resources, [header, b"", b"", data[300:], b""])) == decode([data])


async def test_audio_is_out_within_the_chunk_that_completes_it(resources: Resources) -> None:
    session = await new_session(resources.hub)
    transcoder = asyncio.create_task(SessionTranscoder(session, resources).run())
    done, decoder = b"", StreamDecoder()
    made_here = 0
    for n, chunk in enumerate(as_recorded("chromium_opus.webm")):
        await say(resources.hub, session, [up.Chunk(chunk), Text(str(n))])
        await asyncio.wait_for(until_said(resources.hub, session, Text(str(n))), LIMIT_S)
        done += chunk
        made_here += len(decoder.feed(chunk, max_seconds=99).pcm)
        assert len(audio(await made(resources.hub, session))) == made_here
        assert len(decode([done])) - made_here <= 2 * 40  # the resampler's 1.5 ms
    await finish(transcoder)


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_lost_chunks_are_told_and_are_silence(resources: Resources) -> None:
    """No silence is added to it a second time: the gap says that it is there."""
    chunks = cut(stream("live_opus.webm"), 500)
    pieces = await heard_of(resources, [*chunks[:8], *chunks[11:]])
    gaps = [message for message in others(pieces) if isinstance(message, pcm.Gap)]
    assert gaps
    assert all(gap.filled for gap in gaps)
    assert abs(len(audio(pieces)) - len(decode([stream("live_opus.webm")]))) / 48 < 30
    assert sum(gap.missing_ms for gap in gaps) > 50


async def test_one_that_joins_late_is_told_and_the_next_recording_is_heard(resources: Resources) -> None:
    """Nothing can be made of a stream without its beginning; it is told once, until another one begins, in the same gen."""
    data = stream("live_opus.webm")
    pieces = await heard_of(resources, [*cut(data[5_000:], 1_000), *cut(data, 1_000)])
    (error,) = [message for message in others(pieces) if isinstance(message, pcm.MediaError)]
    assert error.code in ("not_audio", "broken_media")
    assert audio(pieces) == decode([data])


async def test_a_broken_stream_ends_and_the_next_gen_works(resources: Resources) -> None:
    session = await new_session(resources.hub)
    await say(resources.hub, session, [up.Chunk(b"\x1a\x45\xdf\xa3" + b"\xff" * 200), up.Chunk(bytes(300))])
    await open_left(resources.hub.writer, session.keys.up, up.GenOpened("stream"), now_ms() + 1)
    await say(resources.hub, session, [up.Chunk(stream("opus.ogg")), End("x")])
    pieces = await transcode(resources, session)
    assert [type(message).__name__ for message in others(pieces)] == ["MediaError", "GenOpened", "End"]
    assert audio(pieces) == decode([stream("opus.ogg")])


@pytest.mark.parametrize("name", ["chromium_opus.webm", "firefox_opus.ogg", "chromium_opus.mp4", "cbr.mp3"])
async def test_a_recorder_that_begins_anew(resources: Resources, name: str) -> None:
    """Stopped and started by the same client: two recordings, each whole, in the same gen."""
    data = stream(name) if not name.startswith("cbr") else b"ID3\4\0\0\0\0\0\0" + stream(name)
    chunks = cut(data, 3_000)
    pieces = await heard_of(resources, [*chunks, *chunks[:4], *chunks])
    assert audio(pieces) == decode(chunks) + decode(chunks[:4]) + decode(chunks)
    assert not [message for message in others(pieces) if isinstance(message, pcm.MediaError)]


@pytest.mark.parametrize("source", ["pcm_s24le 48000", "stream 1", "nothing"])
async def test_a_source_that_there_is_not_is_named(resources: Resources, source: str) -> None:
    pieces = await heard_of(resources, [b"x", b"y"], source)
    assert [type(message).__name__ for message in others(pieces)] == ["MediaError", "End"]


async def test_more_than_is_taken_at_once_ends_the_stream(resources: Resources) -> None:
    """Two minutes are in hand, and a second more each second."""
    samples = np.zeros(8_000 * 200, dtype="<i2").tobytes()
    begun = time.monotonic()
    pieces = await heard_of(resources, cut(samples, 1 << 20), "pcm_s16le 8000")
    took_s = time.monotonic() - begun
    (error,) = [message for message in others(pieces) if isinstance(message, pcm.MediaError)]
    assert error.code == "too_fast"
    assert 110 < len(audio(pieces)) / 48_000 <= 121 + took_s


async def test_one_chunk_of_sixteen_megabytes(resources: Resources) -> None:
    """After a pause, say: it is taken, slice by slice."""
    data = np.random.default_rng(1).uniform(-1, 1, 4 << 20).astype("<f4").tobytes()
    pieces = await heard_of(resources, [data], "pcm_f32le 96000 2")
    assert len(audio(pieces)) // 2 == (2 << 20) // 4


# ── deaths ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DEADLY = ["chromium_opus.webm", "live_opus.webm", "flac.ogg", "pcm.mkv", "aac.mp4", "lc.aac", "firefox_opus.ogg", "cbr.mp3"]


@pytest.mark.parametrize("name", DEADLY)
async def test_a_killed_decoder_leaves_no_seam(resources: Resources, name: str) -> None:
    """Again and again, anywhere: as long to the sample as one that lived, no hole, no doubled frame."""
    assert resources.streams is not None
    session, chance = await new_session(resources.hub), random.Random(name)
    chunks = cut(stream(name), max(200, len(stream(name)) // 80))
    transcoder = asyncio.create_task(SessionTranscoder(session, resources).run())
    deaths = chance.sample(range(1, len(chunks)), 4)
    for n, chunk in enumerate(chunks):
        await say(resources.hub, session, [up.Chunk(chunk), Text(str(n))])
        if n in deaths:
            for pid in resources.streams.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if n % 3 == 0:
            await asyncio.wait_for(until_said(resources.hub, session, Text(str(n))), LIMIT_S)
    await say(resources.hub, session, [End("x")])
    assert await asyncio.wait_for(transcoder, LIMIT_S)
    pieces = await made(resources.hub, session)
    assert resources.streams.replaced > 2
    assert_alike(name, audio(pieces), decode([stream(name)]))
    assert others(pieces) == [*(Text(str(n)) for n in range(len(chunks))), End("x")]


async def test_a_decoder_that_is_relieved_leaves_no_seam(hub: Hub) -> None:
    """Old children take leave of their streams, which go on in young ones."""
    name = "flac.ogg"
    async with StreamPool(lifetime=Lifetime(seconds=0.3, grace_s=0.1)) as streams:
        resources, session = Resources(hub, DecoderPool(1), streams=streams), await new_session(hub)
        transcoder = asyncio.create_task(SessionTranscoder(session, resources).run())
        for n, chunk in enumerate(cut(stream(name), 2_000)):
            await say(hub, session, [up.Chunk(chunk), Text(str(n))])
            await asyncio.wait_for(until_said(hub, session, Text(str(n))), LIMIT_S)
            if n in (20, 30):
                before, pids = streams.relieved, streams.pids
                while streams.relieved == before or set(pids) & set(streams.pids):  # noqa: ASYNC110 - the pool tells nobody
                    await asyncio.sleep(0.01)
        await say(hub, session, [End("x")])
        assert await asyncio.wait_for(transcoder, LIMIT_S)
        assert audio(await made(hub, session)) == decode([stream(name)])
        assert streams.replaced == 0


@pytest.mark.parametrize("name", DEADLY)
async def test_a_killed_transcoder_leaves_no_seam(resources: Resources, name: str) -> None:
    """As above, but the whole worker; another one takes the session over."""
    hub, chance = resources.hub, random.Random(name)
    session = await new_session(hub)
    said: list[Message] = []
    for n, chunk in enumerate(cut(stream(name), max(200, len(stream(name)) // 80))):
        said += [up.Chunk(chunk), *([Commit()] if n % 7 == 0 else [])]
    saying = asyncio.create_task(say(hub, session, [*said, End("x")]))
    tip, kills = EntryId(0, 0), 0
    while True:
        task = asyncio.create_task(SessionTranscoder(session, resources).run())
        tip = await asyncio.wait_for(until_made(hub, session, chance.randint(1, 8), tip), LIMIT_S)
        if others(await made(hub, session))[-1:] == [End("x")]:
            break
        await finish(task)
        kills += 1
    assert await asyncio.wait_for(task, LIMIT_S)
    await saying
    assert kills > 2
    pieces = await made(hub, session)
    assert_alike(name, audio(pieces), decode([stream(name)]))
    assert others(pieces) == [message for message in [*said, End("x")] if not isinstance(message, up.Chunk)]


@pytest.mark.parametrize("ends", [False, True])
async def test_what_was_kept_and_has_gone_bad_is_told(resources: Resources, ends: bool) -> None:
    """The recording is lost, and the next one is heard."""
    hub, data = resources.hub, stream("live_opus.webm")
    session = await new_session(hub)
    gen = (await last_id(hub.redis, session.keys.up) or EntryId(0, 0)).left
    await say(hub, session, [up.Chunk(data[:9_000])])
    bad = checkpoint.Checkpoint(upto=f"{gen}-1", source="stream", made=24_000, decoder=b"nonsense")
    await checkpoint.save(hub.redis, session, bad)
    await say(hub, session, [*([] if ends else [up.Chunk(data[9_000:])]), *map(up.Chunk, cut(data, 4_000)), End("x")])
    pieces = await transcode(resources, session)
    (error,) = [message for message in others(pieces) if isinstance(message, pcm.MediaError)]
    assert error.code == "broken_media"
    assert audio(pieces) == decode([data])


async def test_without_a_pool_it_is_told_and_nothing_else(hub: Hub) -> None:
    pieces = await heard_of(Resources(hub, DecoderPool(1)), [stream("opus.ogg"), stream("opus.ogg")])
    assert [type(message).__name__ for message in others(pieces)] == ["MediaError", "End"]


async def test_up_keeps_a_second_and_no_more(resources: Resources) -> None:
    """What is behind that is in the decoder's state; that is a few kilobytes."""
    session = await new_session(resources.hub)
    transcoder = asyncio.create_task(SessionTranscoder(session, resources).run())
    longest, redis, tip = 0, resources.hub.redis, EntryId(0, 0)
    for n, chunk in enumerate(cut(stream("chromium_opus.webm"), 200)):  # some 60 ms each
        await say(resources.hub, session, [up.Chunk(chunk), Text(str(n))])
        tip = await asyncio.wait_for(until_made(resources.hub, session, 1, tip), LIMIT_S)
        longest = max(longest, await redis.xlen(session.keys.up))
    assert 10 < longest < 100
    kept = await checkpoint.load(redis, session)
    assert 1_000 < len(kept.decoder) < 30_000
    await say(resources.hub, session, [End("x")])
    assert await asyncio.wait_for(transcoder, LIMIT_S)
    assert (await checkpoint.load(redis, session)).decoder == b""


async def test_an_entry_that_kills_every_child_ends_its_stream_only(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them, and the client is told; the next gen is decoded."""
    streams = resources.streams
    assert streams is not None
    ask = StreamPool.ask

    async def deadly(self: StreamPool, place, life, request):  # type: ignore[no-untyped-def]
        if getattr(request, "data", b"").startswith(b"deadly") and place.child is not None:
            os.kill(place.child.pid, signal.SIGKILL)
        return await ask(self, place, life, request)

    monkeypatch.setattr(StreamPool, "ask", deadly)
    session = await new_session(resources.hub)
    data = stream("live_opus.webm")
    await say(
        resources.hub,
        session,
        [up.Chunk(data[:9_000]), up.Chunk(b"deadly"), up.Chunk(data[9_000:]), up.Chunk(data), End("x")],
    )
    pieces = await transcode(resources, session)
    (error,) = [message for message in others(pieces) if isinstance(message, pcm.MediaError)]
    assert error.code == "decoder_failed"
    assert audio(pieces).endswith(decode([data]))
    assert streams.replaced == 3


async def start_process(server: EmbeddedServer) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "transcoder"), env={"REDIS_URL": server.url, "PARLEY_DECODERS": "1", "LOG_LEVEL": "ERROR"}
    )


async def test_processes_that_are_killed(hub: Hub, redis_server: EmbeddedServer) -> None:
    """Hard, in mid-stream, with their children and what they had in hand: nobody can tell but by an ear for -60 dB."""
    name = "chromium_opus.webm"
    chunks = cut(stream(name), 250)
    said: list[Message] = [*map(up.Chunk, chunks), Commit(), End("x")]
    session = await new_session(hub)
    processes = [await start_process(redis_server)]
    try:
        await hand_out(hub.redis, session, "transcoder")
        tip = EntryId(0, 0)
        for part, kill in ((said[: len(said) // 2], True), (said[len(said) // 2 :], False)):
            saying = asyncio.create_task(say(hub, session, part))
            tip = await asyncio.wait_for(until_made(hub, session, 12, tip), LIMIT_S)
            if kill:
                processes.append(await start_process(redis_server))
                processes[0].send_signal(signal.SIGKILL)
                await processes[0].wait()
            await saying
        await asyncio.wait_for(until_said(hub, session, End("x")), LIMIT_S)
        pieces = await made(hub, session)
        assert_alike(name, audio(pieces), decode([stream(name)]))
        assert others(pieces) == [Commit(), End("x")]
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
                await process.wait()
