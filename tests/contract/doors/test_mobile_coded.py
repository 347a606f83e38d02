"""The mobile door, in other formats than PCM16 at 24 kHz: what a client saves of an answer is a file that plays."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from io import BytesIO

import pybase64
import pytest

from runtime.embedded import EmbeddedServer
from streams import down
from streams.sessions import Session
from tests.contract.doors.coded_stage import SPEECH, assert_is, assert_seamless, begin, end, played, say, transcoding
from tests.contract.doors.stage import LIMIT_S, Client, Stage
from tests.media.make_media import as_samples

BRIEF = SPEECH[:24_000]
"""An answer comes at the pace at which it is played: this one where nothing depends on its length."""


@pytest.fixture(autouse=True)
async def transcoder(redis_server: EmbeddedServer, stage: Stage) -> AsyncIterator[None]:
    async with transcoding(redis_server):
        yield


async def answer(client: Client) -> list[bytes]:
    """The audio of an answer; its text comes last."""
    pieces: list[bytes] = []
    while (heard := await client.hear())["type"] == "audio_response":
        pieces.append(b64(heard))
    assert heard["type"] == "text_response"
    return pieces


async def arrived(stage: Stage, session: Session) -> bytes:
    """The cursor; nothing while there is none."""
    place = await stage.redis.hget(session.keys.cursors, "arrived")
    return place if isinstance(place, bytes) else b""


def b64(heard: dict[str, str]) -> bytes:
    return pybase64.b64decode(heard["audio"], validate=True)


async def test_opus_is_one_ogg_file_an_answer(stage: Stage) -> None:
    """In pages as they come; as long as the answer, to the sample, and a tenth of it in bytes."""
    async with stage.client("/ws-mobile/ann?audio_format=opus&bitrate=24000") as client:
        bridge = await stage.bridge(await stage.session())
        for n, pcm in enumerate((SPEECH, SPEECH[:30_002])):
            await say(bridge, pcm, str(n))
            pieces = await answer(client)
            assert len(pieces) > len(pcm) / 4_800
            heard = played(b"".join(pieces), "ogg", 48_000)
            assert len(heard) == 2 * len(pcm)
            assert_is(as_samples(heard)[::2].astype("<i2").tobytes(), pcm)
            assert sum(map(len, pieces)) * 10 < len(pcm) * 4 / 3


async def test_aac_is_adts_as_it_comes(stage: Stage) -> None:
    """Which cannot say what is priming: 1024 samples."""
    async with stage.client("/ws-mobile/ann?audio_format=aac") as client:
        bridge = await stage.bridge(await stage.session())
        await say(bridge, SPEECH, "1")
        heard = played(b"".join(await answer(client)), "aac", 24_000)
        assert 0 <= len(heard) // 2 - 1024 - len(SPEECH) // 2 < 1024
        assert_is(heard[2048:], SPEECH)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("container", ["pcm16", "wav"])
async def test_another_rate_is_as_long(stage: Stage, rate: int, container: str) -> None:
    async with stage.client(f"/ws-mobile/ann?audio_format={container}&output_rate={rate}") as client:
        bridge = await stage.bridge(await stage.session())
        await say(bridge, SPEECH[:48_018], "1")
        pieces = await answer(client)
        pcm = b"".join(pieces)
        if container == "wav":
            assert len(pieces) == 1
            with wave.open(BytesIO(pcm)) as file:
                assert file.getframerate() == rate
                pcm = file.readframes(1 << 30)
        assert len(pcm) // 2 == int(24_009 * rate / 24_000 + 0.5)


async def test_a_new_format_counts_from_the_next_answer_on(stage: Stage) -> None:
    """There and back again: nothing is lost or said twice."""
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await begin(bridge, SPEECH, "1", 0, 10)
        heard = [await client.hear_audio() for _ in range(10)]
        await client.ask({"type": "config", "audio_format": "opus", "frame_ms": 40})
        await begin(bridge, SPEECH, "1", 10)
        await end(bridge, "1")
        assert b"".join(heard + await answer(client)) == SPEECH
        await say(bridge, BRIEF, "2")
        assert len(played(b"".join(await answer(client)), "ogg", 48_000)) == 2 * len(BRIEF)
        await client.ask({"type": "config", "audio_format": "wav", "output_rate": 24_000})
        await say(bridge, BRIEF, "3")
        (whole,) = await answer(client)
        assert whole[44:] == BRIEF


async def test_an_interruption_leaves_nothing_behind(stage: Stage) -> None:
    """What comes next begins with priming of its own, in a stream of its own."""
    async with stage.client("/ws-mobile/ann?audio_format=opus") as client:
        bridge = await stage.bridge(await stage.session())
        await begin(bridge, SPEECH, "1", 0, 8)
        heard = [await client.hear_audio() for _ in range(8)]
        await bridge.say(down.Interrupted("i1", 0, 500))
        await begin(bridge, SPEECH, "1", 8)  # late, and void
        await end(bridge, "1")
        assert await answer(client) == []
        before = played(b"".join(heard), "ogg", 48_000)
        assert 0.78 < len(before) / 96_000 <= 0.8
        await say(bridge, SPEECH, "2")
        assert len(played(b"".join(await answer(client)), "ogg", 48_000)) == 2 * len(SPEECH)


async def broken_after(stage: Stage, audio_format: str, entries: int) -> tuple[bytes, bytes]:
    """What a client has of an answer when its line breaks behind so many entries and a word; and the rest."""
    path = f"/ws-mobile/ann?audio_format={audio_format}&input_format=pcm16"
    async with stage.client(path) as client:
        await client.say_audio(bytes(4_800))
        session = await stage.session()
        bridge = await stage.bridge(session)
        await begin(bridge, SPEECH, "1", 0, entries)
        await bridge.say_event("response.output_audio_transcript.delta", item_id="i1", delta="And so")
        before = [await client.hear_audio() for _ in range(entries)]
        await client.hear_nothing_more()
        async with asyncio.timeout(LIMIT_S):  # which is known a ping later
            while not (await arrived(stage, session)).endswith(f"-{entries + 1}".encode()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
    await stage.gone(session.keys.attach)
    await begin(bridge, SPEECH, "1", entries)
    await end(bridge, "1")
    async with stage.client(path) as client:
        return b"".join(before), b"".join(await answer(client))


async def test_a_redial_goes_on_behind_what_had_arrived(stage: Stage) -> None:
    """In a stream of its own, without a gap: both files together are as long as what was said."""
    one, two = (played(file, "ogg", 48_000) for file in await broken_after(stage, "opus", 15))
    assert len(one) + len(two) == 2 * len(SPEECH)


async def test_a_redial_in_aac_begins_with_the_packet_before(stage: Stage) -> None:
    """A decoder makes nothing of the first one that it gets: behind that, nothing is missing at the seam."""
    assert_seamless(*await broken_after(stage, "aac", 15))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("audio_format=mp3", "opus"),
        ("audio_format=opus&bitrate=999", "bitrate"),
        ("audio_format=opus&bitrate=fast", "bitrate"),
        ("audio_format=opus&frame_ms=30", "frame_ms"),
        ("output_rate=44100", "output_rate"),
    ],
)
async def test_what_cannot_be_had_is_told(stage: Stage, query: str, named: str) -> None:
    """In a sentence; the rest holds."""
    async with stage.client(f"/ws-mobile/ann?{query}") as client:
        heard = await client.hear()
        assert heard["type"] == "error"
        assert named in heard["error"]
        bridge = await stage.bridge(await stage.session())
        await say(bridge, BRIEF, "1")
        audio = b"".join(await answer(client))
        assert (audio[:4] == b"OggS") == ("opus" in query)
        for wrong in ({"bitrate": 1}, {"frame_ms": 21}, {"output_rate": 1}, {"audio_format": "mp3"}):
            answered = await client.ask({"type": "config", **wrong})
            assert answered["type"] == "error"
            assert next(iter(wrong)) in answered["error"]
