"""One session's transcoder between `up` and `pcm`, on a real Redis and with real decoder children."""

from __future__ import annotations

import asyncio
from secrets import token_hex

import pytest

from streams import pcm, turns, up
from streams.consumer import Consumer, Entry, read
from streams.hub import Hub
from streams.ids import EntryId, piece
from streams.messages import Commit, End, Message, SetPersona, Text
from streams.producer import Assigned, Marked, Producer
from streams.sessions import Session, Sessions
from tests.media.make_media import as_samples, correlation, libav_decode, make_clip
from transcoder.sandbox import DecoderPool
from transcoder.uplink import PIECE_SAMPLES
from transcoder.worker import Resources, SessionTranscoder


@pytest.fixture
async def session(hub: Hub) -> Session:
    return (await Sessions(hub.redis).create(turns.Opened(user="u", door="mobile"), "u")).session


async def say(hub: Hub, session: Session, *messages: Message) -> list[EntryId]:
    producer = Producer(hub.writer, session.keys.up, Marked(token_hex(4)))
    return [await producer.append(message) for message in messages]


async def transcode(hub: Hub, session: Session, pool: DecoderPool) -> list[Entry[pcm.PcmMessage]]:
    """Run a transcoder until the session's end; all of `pcm`."""
    await asyncio.wait_for(SessionTranscoder(session, Resources(hub, pool)).run(), 20)
    return await read(hub.redis, session.keys.pcm, pcm.decoder)


def audio(entries: list[Entry[pcm.PcmMessage]]) -> list[pcm.Audio]:
    return [entry.message for entry in entries if isinstance(entry.message, pcm.Audio)]


async def test_a_recording_becomes_pcm_at_absolute_offsets(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Entries of a second, named by their source, each where the one before ended; then the recording's end."""
    clip = make_clip(samples=44_100 * 5 // 2)
    source, *_ = await say(hub, session, up.File(clip.data, arrived_ms=77), End("done"))
    entries = await transcode(hub, session, pool)
    pieces = audio(entries)
    assert [part.samples for part in pieces] == [PIECE_SAMPLES, PIECE_SAMPLES, PIECE_SAMPLES // 2]
    assert [part.offset for part in pieces] == [0, PIECE_SAMPLES, 2 * PIECE_SAMPLES]
    assert correlation(as_samples(b"".join(part.audio for part in pieces)), libav_decode(clip.data)) > 0.99
    made = [entry.id for entry in entries if isinstance(entry.message, pcm.Audio)]
    assert made == [piece(source, k) for k in range(3)]
    (end,) = [entry.message for entry in entries if isinstance(entry.message, pcm.UtteranceEnd)]
    assert (end.samples, end.arrived_ms) == (60_000, 77)
    assert "aac 44100 Hz" in end.source


async def test_control_keeps_its_place(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """What was said between two recordings stands between their audio."""
    clip = make_clip(samples=22_050).data
    said = (up.File(clip, 1), SetPersona("moon"), Text("hi"), up.Audio(bytes(960)), Commit(), up.File(clip, 2), End("x"))
    await say(hub, session, *said)
    kinds = [type(entry.message).__name__ for entry in await transcode(hub, session, pool)]
    assert kinds == [
        "GenOpened",
        *("Audio", "UtteranceEnd", "SetPersona", "Text", "Audio", "Commit", "Audio", "UtteranceEnd", "End"),
    ]


async def test_a_bad_recording_is_an_error_in_its_place(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Nothing of it is heard, and the next one is."""
    good = make_clip(samples=22_050).data
    await say(hub, session, up.File(b"GIF89a" + bytes(500), 1), up.File(good[:3000], 2), up.File(good, 3), End("x"))
    entries = await transcode(hub, session, pool)
    errors = [entry.message for entry in entries if isinstance(entry.message, pcm.MediaError)]
    assert len(errors) == 2
    assert all(len(error.message) > 20 for error in errors)
    assert sum(part.samples for part in audio(entries)) == 12_000


async def test_two_minutes_in_hand_and_no_more(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Who sends faster than anybody speaks is told how much is allowed."""
    long = make_clip("speech_jfk", rate=8_000, samples=8_000 * 70).data
    await say(hub, session, up.File(long, 1), up.File(long, 2), End("x"))
    entries = await transcode(hub, session, pool)
    assert sum(part.samples for part in audio(entries)) == 70 * 24_000
    (error,) = [entry.message for entry in entries if isinstance(entry.message, pcm.MediaError)]
    assert error.code == "too_long"


async def test_work_that_another_has_begun_is_finished_without_a_seam(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """The first transcoder died after some pieces; a second does all of it again, and each piece is there once."""
    clip = make_clip("speech_jfk", samples=44_100 * 4)
    source, second, _ = await say(hub, session, up.File(clip.data, 1), up.File(clip.data, 2), End("x"))
    whole = (await pool.decode_file(clip.data, max_seconds=60)).pcm
    ids = Assigned()
    dead = Producer(hub.writer, session.keys.pcm, ids)
    for k in range(2):
        ids.assign(dead.next_number, piece(source, k))
        offset = k * PIECE_SAMPLES
        dead.append(pcm.Audio(whole[2 * offset : 2 * (offset + PIECE_SAMPLES)], offset=offset))
    await dead.flush()
    entries = await transcode(hub, session, pool)
    parts = audio(entries)
    assert b"".join(part.audio for part in parts) == whole + whole
    assert [part.offset for part in parts] == [k * PIECE_SAMPLES for k in range(8)]
    assert entries[-1].id > piece(second, 0)


async def test_a_transcoder_that_comes_later_goes_on_counting(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """What was done is trimmed from `up`; the next worker finds the offset in `pcm`."""
    clip = make_clip(samples=44_100)
    (source,) = await say(hub, session, up.File(clip.data, 1))
    first = SessionTranscoder(session, Resources(hub, pool))
    task = asyncio.create_task(first.run())
    async with Consumer(hub.redis, hub.bus, session.keys.pcm, pcm.decoder) as made:
        async for entry in made:
            if isinstance(entry.message, pcm.UtteranceEnd):
                break
    first.leave()
    await asyncio.wait([task])
    await say(hub, session, up.File(clip.data, 2), End("x"))
    entries = await transcode(hub, session, pool)
    assert [part.offset for part in audio(entries)] == [0, 24_000]
    assert source < entries[-1].id
