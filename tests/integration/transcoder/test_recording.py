"""The WAV of what was uploaded: every sample in its place, whatever dies, and never in the call's way."""

from __future__ import annotations

import asyncio
import logging
import random
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams import checkpoint, pcm, turns, up
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import Clear, Commit, End, Message
from streams.producer import open_left
from streams.sessions import Session, Sessions, now_ms
from streams.turns import is_file_stem
from tests.integration.transcoder.streaming import (
    Made,
    chunks,
    conversation,
    finish,
    made,
    new_session,
    noise,
    say,
    until_made,
)
from tests.media.make_media import as_samples, correlation, make_stream
from transcoder import recording
from transcoder.recording import HEADER_BYTES, Recording, Recordings, header
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool
from transcoder.worker import Resources, SessionTranscoder

LIMIT_S = 30


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    recordings = Recordings(tmp_path / "kept")
    yield recordings
    recordings.close()


@pytest.fixture
def resources(hub: Hub, pool: DecoderPool, recordings: Recordings) -> Resources:
    return Resources(hub, pool, recordings)


def log() -> logging.LoggerAdapter[logging.Logger]:
    return logging.LoggerAdapter(recording_logger)


recording_logger = logging.getLogger("tests.recording")


async def transcode(session: Session, resources: Resources) -> None:
    assert await asyncio.wait_for(SessionTranscoder(session, resources).run(), LIMIT_S)


def read_wav(path: Path) -> tuple[int, bytes]:
    """Its rate and its samples, if it is what the header says, to the byte."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = file.readframes(file.getnframes())
        assert path.stat().st_size == HEADER_BYTES + len(samples) == HEADER_BYTES + 2 * file.getnframes()
        return file.getframerate(), samples


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def spoken(said: list[Message]) -> bytes:
    return b"".join(message.audio for message in said if isinstance(message, up.Audio))


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
async def test_it_holds_what_was_uploaded(hub: Hub, resources: Resources, tmp_path: Path, rate: int) -> None:
    """At the rate of the upload, also what was cleared; complete before the end is in `pcm`."""
    said = conversation(rate, seed=rate)
    assert Clear() in said
    session = await new_session(hub, rate, record="call-1.a_B")
    await say(hub, session, said)
    await transcode(session, resources)
    assert read_wav(tmp_path / "kept" / "call-1.a_B.wav") == (rate, spoken(said))
    assert (tmp_path / "kept" / "call-1.a_B.wav").stat().st_mode & 0o777 == 0o600


async def test_without_being_asked_nothing_is_recorded(hub: Hub, resources: Resources, tmp_path: Path) -> None:
    session = await new_session(hub, 16_000)
    await say(hub, session, [up.Audio(noise(1_000)), End("x")])
    await transcode(session, resources)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("stem", ["", ".", "..", "../x", "a/b", "/etc/x", "a\0b", ".hidden", "x" * 101, "a\n", "ä"])
async def test_a_name_leads_nowhere_else(hub: Hub, resources: Resources, tmp_path: Path, stem: str) -> None:
    assert not is_file_stem(stem)
    session = await new_session(hub, 16_000, record=stem)
    await say(hub, session, [up.Audio(noise(1_000)), End("x")])
    await transcode(session, resources)
    assert files_in(tmp_path) == []
    assert len(await made(hub, session)) == 3


@pytest.mark.parametrize("seed", range(4))
async def test_a_takeover_leaves_no_hole(
    hub: Hub, resources: Resources, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with what was not written yet: the next one records it again, also when `up` was trimmed meanwhile."""
    monkeypatch.setattr(recording, "FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr(Recording, "close", _never)  # what is killed closes nothing
    said = conversation(16_000, seed)
    session = await new_session(hub, 16_000, record="call")
    saying = asyncio.create_task(say(hub, session, said))
    chance, tip = random.Random(seed), EntryId(0, 0)
    for _ in range(12):
        if is_whole(await made(hub, session)):
            break
        task = asyncio.create_task(SessionTranscoder(session, resources).run())
        tip = await until_made(hub, session, chance.randint(1, 12), tip)
        await kill(task)
    await saying
    monkeypatch.undo()
    await transcode(session, resources)
    assert read_wav(tmp_path / "kept" / "call.wav") == (16_000, spoken(said))


async def test_a_takeover_goes_on_at_the_right_place(
    hub: Hub, resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time `up` has been trimmed, which it is only up to what is on the disk, its transcoder dies."""
    monkeypatch.setattr(recording, "FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr(Recording, "close", _never)
    session, said, kills = await new_session(hub, 16_000, record="call"), b"", 0
    while kills < 3:
        before = await checkpoint.load(hub.redis, session)
        task = asyncio.create_task(SessionTranscoder(session, resources).run())
        while (await checkpoint.load(hub.redis, session)).recorded == before.recorded:
            said += (chunk := noise(320, len(said)))
            await say(hub, session, [up.Audio(chunk)])
        await kill(task)
        kills += 1
    monkeypatch.undo()
    await say(hub, session, [up.Audio(said[:640]), End("x")])
    await transcode(session, resources)
    assert read_wav(tmp_path / "kept" / "call.wav") == (16_000, said + said[:640])


async def test_a_coded_upload_is_recorded_as_it_is_heard(
    hub: Hub, recordings: Recordings, pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 24 kHz and as long, to the sample, also when its transcoders die in the middle; `up` is trimmed all the same."""
    monkeypatch.setattr(recording, "FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr(Recording, "close", _never)
    data = make_stream("live_opus.webm", 12.0)
    pieces = [data[at : at + 900] for at in range(0, len(data), 900)]
    opened = turns.Opened(user="ann", door="ios", input="stream", record="call")
    session = (await Sessions(hub.redis).create(opened, "c", source="stream")).session
    async with StreamPool(1) as streams:
        resources = Resources(hub, pool, recordings, streams)
        chunks, said = iter(pieces), 0
        for _ in range(3):
            before = await checkpoint.load(hub.redis, session)
            task = asyncio.create_task(SessionTranscoder(session, resources).run())
            while (await checkpoint.load(hub.redis, session)).recorded == before.recorded:
                await say(hub, session, [up.Chunk(next(chunks))])
                said += 1
            await kill(task)
        monkeypatch.undo()
        await say(hub, session, [*map(up.Chunk, chunks), End("x")])
        await transcode(session, resources)
    assert said < len(pieces)
    heard = b"".join(bytes(message.audio) for _, message in await made(hub, session) if isinstance(message, pcm.Audio))
    rate, kept = read_wav(tmp_path / "kept" / "call.wav")
    assert (rate, len(kept)) == (24_000, len(heard))
    # What a dead worker had said and not written is decoded once more, by a decoder that is as near as it gets.
    assert correlation(as_samples(kept), as_samples(heard)) > 0.99999


async def kill(transcoder: asyncio.Task[bool]) -> None:
    """With what it writes."""
    await finish(transcoder)
    for writing in [task for task in asyncio.all_tasks() if task.get_name() == "recording call.wav"]:
        writing.cancel()
        await asyncio.wait([writing])


def is_whole(pieces: list[Made]) -> bool:
    return bool(pieces) and isinstance(pieces[-1][1], End)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 (it looks at a file, which sets no Event)
            await asyncio.sleep(0.01)


async def _never(_: Recording) -> None:
    pass


async def test_it_can_be_read_while_it_grows(hub: Hub, resources: Resources, tmp_path: Path) -> None:
    """The header is right after each write; what is in `up` no more is on the disk."""
    session = await new_session(hub, 16_000, record="call")
    said = chunks(noise(5 * 16_000), random.Random(1), 4_000)
    task = asyncio.create_task(SessionTranscoder(session, resources).run())
    await say(hub, session, said)
    path = tmp_path / "kept" / "call.wav"
    await until(lambda: path.exists() and path.read_bytes()[:HEADER_BYTES] == header(16_000, len(spoken(said))))
    assert read_wav(path) == (16_000, spoken(said))
    await finish(task)


async def test_another_rate_is_not_mixed_in(
    hub: Hub, resources: Resources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, once; what comes at the first rate again goes on behind the last of it."""
    session = await new_session(hub, 16_000, record="call")
    await say(hub, session, [up.Audio(noise(1_000))])
    for source in ("pcm16 48000", "pcm16 16000"):
        await open_left(hub.writer, session.keys.up, up.GenOpened(source), now_ms())
        await say(hub, session, [up.Audio(noise(500, 2)), up.Audio(noise(500, 3)), Commit()])
    await say(hub, session, [End("x")])
    await transcode(session, resources)
    assert read_wav(tmp_path / "kept" / "call.wav")[1] == noise(1_000) + noise(500, 2) + noise(500, 3)
    assert [record.getMessage() for record in caplog.records if "48000 Hz" in record.getMessage()][1:] == []
    assert "48000 Hz" in caplog.text


async def test_a_disk_that_will_not_costs_the_recording_only(
    hub: Hub, pool: DecoderPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence, and the call goes on; `up` is trimmed as without."""
    (tmp_path / "kept").write_text("a file where the folder should be")
    session = await new_session(hub, 16_000, record="call")
    said = conversation(16_000, seed=3)
    await say(hub, session, said)
    await transcode(session, Resources(hub, pool, Recordings(tmp_path / "kept")))
    sentences = [record.getMessage() for record in caplog.records if "cannot be kept" in record.getMessage()]
    assert len(sentences) == 1
    assert "the call goes on without" in sentences[0]
    assert await hub.redis.xlen(session.keys.up) == 1
    calm = await new_session(hub, 16_000)
    await say(hub, calm, said)
    await transcode(calm, Resources(hub, pool))
    assert await made(hub, session) == await made(hub, calm)


async def test_a_full_disk(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle: what is there stays, and nothing is waited for."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    kept = Recording(recordings, "call", log())
    kept.add(0, noise(100), 16_000)
    await kept.close()
    assert kept.on_disk == 100
    monkeypatch.setattr("os.pwrite", full)
    later = Recording(recordings, "call", log())
    later.add(100, noise(100), 16_000)
    await later.close()
    later.add(200, noise(100), 16_000)
    monkeypatch.undo()
    assert later.on_disk > 10**12
    assert read_wav(kept.path) == (16_000, noise(100))
    assert caplog.text.count("No space left on device") == 1


async def test_a_disk_that_is_too_slow(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not filled with what it does not take."""
    monkeypatch.setattr(recording, "MAX_QUEUED_BYTES", 1_000)
    kept = Recording(recordings, "call", log())
    for n in range(5):
        kept.add(n * 300, noise(300), 16_000)
    assert kept.on_disk > 10**12
    await kept.close()
