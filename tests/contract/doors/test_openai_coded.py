"""The openai door, in Opus, AAC and other rates: the echo is in its place, and costs a tenth."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pybase64
import pytest

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.contract.doors.coded_stage import Packets, read_frame, sound, transcoding
from tests.contract.doors.openai_stage import Object, System, system
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.encoder import Codec

pytestmark = pytest.mark.usefixtures("redis")

LIMIT_S = 20
SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()
PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
ENDS = ("response.output_audio.done", "response.done")


@asynccontextmanager
async def parleying(redis: EmbeddedServer, *, transcoders: int = 1, gateways: int = 1) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        parley = await stack.enter_async_context(system(redis, Options(speed=0), gateways=gateways))
        for _ in range(transcoders):
            await stack.enter_async_context(transcoding(redis))
        yield parley


@dataclass(slots=True)
class Listener:
    """A client that hears packets: each did once, and of a tail only the one whose event came."""

    ws: aiohttp.ClientWebSocketResponse
    events: list[Object] = field(default_factory=list)
    frames: list[Packets] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """what came, in its order"""
    audio_bytes: int = 0
    """on the wire, of audio"""

    async def say(self, kind: str, **fields: object) -> None:
        await self.ws.send_str(msgspec.json.encode({"type": kind, **fields}).decode())

    async def ask(self, pcm: bytes) -> None:
        """Have this echoed."""
        await self.say("session.update", session=PUSH_TO_TALK)
        await self.say("input_audio_buffer.append", audio=pybase64.b64encode_as_string(pcm))
        await self.say("input_audio_buffer.commit")
        await self.say("response.create")

    async def hear(self) -> None:
        message = await self.ws.receive(LIMIT_S)
        if message.type is aiohttp.WSMsgType.BINARY:
            frame = read_frame(message.data)
            self.frames.append(frame)
            self.log.append("tail" if frame.is_tail else "packets")
            self.audio_bytes += len(message.data) + 4
            return
        assert message.type is aiohttp.WSMsgType.TEXT, message
        event = msgspec.json.decode(message.data)
        self.events.append(event)
        self.log.append(event["type"])
        if event["type"] == "response.output_audio.delta":
            self.audio_bytes += len(message.data) + 4

    async def until(self, kind: str) -> None:
        await self.hear()
        while self.log[-1] != kind:
            await self.hear()


@asynccontextmanager
async def listener(parley: System, query: str, gateway: int = 0) -> AsyncIterator[Listener]:
    async with parley.http.ws_connect(f"{parley.urls[gateway]}/v1/realtime?{query}", max_msg_size=0) as ws:
        yield Listener(ws)


def assert_echo(pcm: bytes, expected: bytes) -> None:
    assert len(pcm) == len(expected)
    assert lag(as_samples(pcm), as_samples(expected)) == 0
    assert correlation(as_samples(pcm), as_samples(expected)) >= 0.95


@pytest.mark.parametrize("codec", ["opus", "aac"])
async def test_the_echo_is_what_was_said(redis_server: EmbeddedServer, codec: Codec) -> None:
    """As long, to the sample, and in order with the events."""
    async with parleying(redis_server) as parley, listener(parley, f"audio={codec}") as client:
        await client.ask(SPEECH)
        await client.until("response.done")
        assert_echo(sound(codec, client.frames), SPEECH)
        added = next(event for event in client.events if event["type"] == "response.output_item.added")
        assert {frame.item for frame in client.frames} == {added["item"]["id"]}
        begins, ends = client.log.index("packets"), client.log.index("response.output_audio.done")
        assert client.log.index("response.content_part.added") < begins
        assert client.log[ends - 1] == "tail"
        assert "packets" not in client.log[ends:]
        assert "response.output_audio.delta" not in client.log


async def test_opus_at_24_kbit_costs_less_than_a_tenth(redis_server: EmbeddedServer) -> None:
    """Of what PCM16 in base64 costs, both as they are on the wire."""
    async with (
        parleying(redis_server) as parley,
        listener(parley, "audio=opus&bitrate=24000") as cheap,
        listener(parley, "model=any") as plain,
    ):
        for client in (cheap, plain):
            await client.ask(SPEECH)
            await client.until("response.done")
        assert cheap.audio_bytes * 10 < plain.audio_bytes


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
async def test_another_rate_is_as_long(redis_server: EmbeddedServer, rate: int) -> None:
    async with parleying(redis_server) as parley, listener(parley, f"audio=pcm16_{rate}&parley=1") as client:
        await client.say("session.update", useq=1, session=PUSH_TO_TALK)
        await client.say("input_audio_buffer.append", useq=2, audio=pybase64.b64encode_as_string(SPEECH))
        await client.say("input_audio_buffer.commit", useq=3)
        await client.say("response.create", useq=4)
        await client.until("response.done")
    deltas = [event for event in client.events if event["type"] == "response.output_audio.delta"]
    heard = b"".join(base64.b64decode(event["delta"]) for event in deltas)
    assert len(heard) // 2 == int(len(SPEECH) / 2 * rate / 24_000 + 0.5)
    expected = as_samples(speech("speech_jfk", rate, "mono").astype("<i2").tobytes())
    assert lag(as_samples(heard), expected) == 0
    assert [event.get("tail", False) for event in deltas] == [False] * (len(deltas) - 1) + [True]
    ends = client.log.index("response.output_audio.done")
    assert client.events[ends]["did"] == deltas[-1]["did"]
    assert len({event["event_id"] for event in deltas}) == len(deltas)


class Redialler:
    """Hears an answer in pieces, whatever breaks; as its documentation has it."""

    def __init__(self, parley: System, query: str) -> None:
        self._parley, self._query = parley, query
        self.session = ""
        self.after = ""
        self.frames: dict[tuple[str, bool], Packets] = {}
        self.events: list[Object] = []

    async def dial(self, gateway: int, cut_after: int, *, first: bool = False) -> bool:
        """Hear so many messages; whether the answer is complete."""
        query = self._query + (f"&session={self.session}&after={self.after}" if self.session else "")
        async with listener(self._parley, query, gateway) as client:
            for heard in range(1 << 20):
                if heard == cut_after and self.after:
                    connection = client.ws._response.connection
                    assert connection is not None
                    assert connection.transport is not None
                    connection.transport.abort()
                    return False
                count = len(client.frames)
                await client.hear()
                if len(client.frames) > count:
                    frame = client.frames[-1]
                    assert (frame.did, False) not in self.frames, "a frame came twice"
                    self.frames[frame.did, frame.is_tail] = frame
                    if not frame.is_tail:
                        self.after = frame.did
                    continue
                event = client.events[-1]
                assert event["type"] != "parley.resync"
                if event["type"] == "session.created":
                    self.session = event["session"]["id"]
                    await self._ask(client)
                if "did" in event:
                    self.events.append(event)
                    self.after = event["did"]
                if event["type"] == "response.done":
                    return True
        return False

    async def _ask(self, client: Listener) -> None:
        await client.say("session.update", useq=1, session=PUSH_TO_TALK)
        await client.say("input_audio_buffer.append", useq=2, audio=pybase64.b64encode_as_string(SPEECH))
        await client.say("input_audio_buffer.commit", useq=3)
        await client.say("response.create", useq=4)


@pytest.mark.parametrize("codec", ["opus", "aac"])
async def test_who_dials_again_hears_each_packet_once(redis_server: EmbeddedServer, codec: Codec) -> None:
    """Cut anywhere, on any gateway."""
    chance = random.Random(6)
    async with parleying(redis_server, gateways=2) as parley:
        client, cuts = Redialler(parley, f"parley=1&audio={codec}"), 0
        while not await client.dial(cuts % 2, chance.randint(4, 14)):
            cuts += 1
        assert cuts > 5
        dids = [event["did"] for event in client.events]
        assert len(set(dids)) == len(dids)
        assert_echo(sound(codec, list(client.frames.values())), SPEECH)


async def test_over_server_sent_events(redis_server: EmbeddedServer) -> None:
    """The same frames in base64, with their place as the id of the event; still a tenth."""
    async with parleying(redis_server) as parley:
        address = f"{parley.urls[0]}/v1/realtime"
        async with parley.http.get(f"{address}/sse?audio=opus&bitrate=24000") as response:
            frames: list[Packets] = []
            ids: list[str] = []
            size = 0
            async for name, did, data in server_sent(response):
                event = msgspec.json.decode(data)
                assert event["type"] == name
                match name:
                    case "session.created":
                        said = [
                            {"type": "session.update", "session": PUSH_TO_TALK},
                            {"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(SPEECH)},
                            {"type": "input_audio_buffer.commit"},
                            {"type": "response.create"},
                        ]
                        about = f"{address}/events?session={event['session']['id']}"
                        async with parley.http.post(about, json=said) as answer:
                            assert answer.status == 200
                    case "parley.audio":
                        frames.append(read_frame(base64.b64decode(event["frame"])))
                        ids.append(did)
                        size += len(name) + len(did) + len(data) + len("event: \nid: \ndata: \n\n") + 8
                    case "response.done":
                        break
            assert_echo(sound("opus", frames), SPEECH)
            assert [did.split("/")[-1] for did in ids[:-1]] == [frame.did for frame in frames[:-1]]
            assert ids[-1] == ""  # the event that follows has its place
            assert size * 10 < len(pybase64.b64encode(SPEECH))


async def server_sent(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, bytes]]:
    name, did, data = "", "", b""
    async with asyncio.timeout(LIMIT_S):
        async for line in response.content:
            match line.rstrip(b"\n").split(b": ", 1):
                case [b"event", value]:
                    name = value.decode()
                case [b"id", value]:
                    did = value.decode()
                case [b"data", value]:
                    data = value
                case [b""] if data:
                    yield name, did, data
                    name, did, data = "", "", b""


@pytest.mark.parametrize(
    ("query", "param"),
    [("audio=mp3", "audio"), ("audio=opus&bitrate=7999", "bitrate"), ("audio=aac&frame_ms=x", "frame_ms")],
)
async def test_what_cannot_be_had_is_told(redis_server: EmbeddedServer, query: str, param: str) -> None:
    """In an `error` event, behind the first; the rest holds."""
    async with parleying(redis_server) as parley, listener(parley, query) as client:
        await client.until("error")
        assert client.log == ["session.created", "error"]
        error = client.events[-1]["error"]
        assert (error["code"], error["param"]) == ("invalid_value", param)
        assert error["message"]
        await client.ask(SPEECH[:48_000])
        await client.until("response.done")
        assert ("packets" in client.log) == (param != "audio")
