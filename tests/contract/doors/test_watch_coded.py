"""The watch door, in other formats than PCM16 at 24 kHz: on the stream, and on the phone's WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import websockets

from runtime.embedded import EmbeddedServer
from streams import down
from tests.contract.doors.coded_stage import (
    LIMIT_S,
    SPEECH,
    assert_says,
    assert_seamless,
    begin,
    end,
    played,
    say,
    transcoding,
)
from tests.contract.doors.stage import Stage
from tests.contract.doors.watch_app import spoken, streaming, upload


@pytest.fixture(autouse=True)
async def transcoder(redis_server: EmbeddedServer, stage: Stage) -> AsyncIterator[None]:
    async with transcoding(redis_server):
        yield


FORMATS = [("opus", 24_000, ""), ("opus", 24_000, "&bitrate=32000&frame_ms=60"), ("aac", 24_000, ""), ("pcm16", 48_000, "")]


@pytest.mark.parametrize(("audio_format", "rate", "more"), FORMATS)
async def test_the_stream_says_it_as_it_was_asked_for(stage: Stage, audio_format: str, rate: int, more: str) -> None:
    """Each answer is one file; its last audio comes before `response_complete`."""
    query = f"conversationId=c1&audio_format={audio_format}&output_rate={rate}{more}"
    async with streaming(stage.url, query) as stream:
        assert (await stream.hear()).name == "conversation_started"
        bridge = await stage.bridge(await stage.session("anonymous", "c1"))
        for answer in "12":
            await say(bridge, SPEECH, answer)
            events = await stream.until("response_complete")
            assert {event.name for event in events} == {"audio_response", "transcript_complete", "response_complete"}
            assert_says(spoken(events), audio_format, rate)


async def test_the_stream_without_a_format_is_as_ever(stage: Stage) -> None:
    async with streaming(stage.url) as stream:
        await stream.hear()
        bridge = await stage.bridge(await stage.session("anonymous", "c1"))
        await say(bridge, SPEECH, "1")
        assert spoken(await stream.until("response_complete")) == SPEECH
        assert await stage.handed_out("transcoder") == []


async def broken_after(stage: Stage, audio_format: str, entries: int) -> tuple[bytes, bytes]:
    """What a client has of an answer when its stream breaks behind so many entries; and the rest."""
    query = f"conversationId=c1&audio_format={audio_format}"
    async with streaming(stage.url, query) as stream:
        await stream.hear()
        said = await upload(stage.url, bytes(4_800))  # a conversation in which nothing was said does not wait
        assert said.status == 200
        bridge = await stage.bridge(await stage.session("anonymous", "c1"))
        await begin(bridge, SPEECH, "1", 0, entries)
        before = [await stream.hear() for _ in range(entries)]
        assert before[-1].id is not None
    await begin(bridge, SPEECH, "1", entries)
    await end(bridge, "1")
    async with streaming(stage.url, query, Last_Event_ID=before[-1].id) as stream:
        await stream.hear()
        return spoken(before), spoken(await stream.until("response_complete"))


async def test_a_redial_goes_on_behind_the_event_that_was_heard(stage: Stage) -> None:
    """In a file of its own, without a gap: both together are as long as what was said."""
    one, two = (played(file, "ogg", 48_000) for file in await broken_after(stage, "opus", 15))
    assert len(one) + len(two) == 2 * len(SPEECH)


async def test_a_redial_in_aac_begins_with_the_packet_before(stage: Stage) -> None:
    assert_seamless(*await broken_after(stage, "aac", 15))


async def test_what_is_void_is_not_said(stage: Stage) -> None:
    async with streaming(stage.url, "conversationId=c1&audio_format=aac") as stream:
        await stream.hear()
        bridge = await stage.bridge(await stage.session("anonymous", "c1"))
        await begin(bridge, SPEECH, "1", 0, 8)
        await bridge.say(down.Interrupted("i1", 0, 500))
        await stream.until("interrupted")
        await begin(bridge, SPEECH, "1", 8)  # late
        await end(bridge, "1")
        assert spoken(await stream.until("response_complete")) == b""
        await say(bridge, SPEECH, "2")
        assert_says(spoken(await stream.until("response_complete")), "aac")


@pytest.mark.parametrize(
    ("query", "named"),
    [("audio_format=wav", "audio_format"), ("output_rate=44100", "output_rate"), ("audio_format=aac&bitrate=x", "bitrate")],
)
async def test_what_the_stream_cannot_have_is_told(stage: Stage, query: str, named: str) -> None:
    """Behind the first event; the rest holds."""
    async with streaming(stage.url, f"conversationId=c1&{query}") as stream:
        await stream.hear()
        error = await stream.hear()
        assert error.name == "error"
        assert named in error.data
        bridge = await stage.bridge(await stage.session("anonymous", "c1"))
        await say(bridge, SPEECH, "1")
        events = await stream.until("response_complete")
        assert_says(spoken(events), "aac" if "aac" in query else "pcm16")


# ---- the phone ------------------------------------------------------------------------------------------------------


class Phone:
    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def hear(self) -> dict[str, str]:
        async with asyncio.timeout(LIMIT_S):
            heard: dict[str, str] = json.loads(await self.socket.recv())
            return heard

    async def start(self, conversation: str, **fields: object) -> dict[str, str]:
        said = {"type": "start_conversation", "conversationId": conversation, **fields}
        await self.socket.send(json.dumps(said))
        return await self.hear()

    async def answer(self) -> bytes:
        audio = b""
        while (heard := await self.hear())["type"] != "response_complete":
            if heard["type"] == "audio_response":
                audio += base64.b64decode(heard["data"], validate=True)
        return audio


@asynccontextmanager
async def phone(stage: Stage) -> AsyncIterator[Phone]:
    async with websockets.connect(stage.url.replace("http", "ws") + "/realtime") as socket:
        phone = Phone(socket)
        assert (await phone.hear())["type"] == "session.created"
        yield phone


async def test_each_conversation_of_the_phone_has_its_own_format(stage: Stage) -> None:
    async with phone(stage) as app:
        for n, (audio_format, rate) in enumerate((("opus", 24_000), ("aac", 24_000), ("pcm16", 48_000), (None, 24_000))):
            asked = {} if audio_format is None else {"audio_format": audio_format, "output_rate": rate}
            assert (await app.start(f"c{n}", **asked))["type"] == "conversation_started"
            bridge = await stage.bridge(await stage.session("anonymous", f"c{n}"))
            await say(bridge, SPEECH, "1")
            assert_says(await app.answer(), audio_format or "pcm16", rate)


@pytest.mark.parametrize("wrong", [{"audio_format": "wav"}, {"output_rate": 1}, {"bitrate": 1}, {"frame_ms": "x"}])
async def test_what_the_phone_cannot_have_is_told(stage: Stage, wrong: dict[str, object]) -> None:
    """And no conversation begins; the next one may."""
    async with phone(stage) as app:
        heard = await app.start("c1", **wrong)
        assert heard["type"] == "error"
        assert next(iter(wrong)) in heard["message"]
        assert (await app.start("c1"))["type"] == "conversation_started"
