"""Browsers' recordings, streamed through the doors and a real transcoder: what the model hears, what the client is told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import aiohttp
import numpy as np
import pybase64
import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from streams import pcm
from streams.consumer import read
from streams.keys import SessionKeys
from streams.messages import ClientEvent
from tests.contract.doors.openai_stage import (
    LIMIT_S,
    NumberedClient,
    Object,
    System,
    Talker,
    coded_frame,
    spoken,
    system,
    transcoding,
)
from tests.integration.transcoder.test_stream import FILES, RECORDED, decode, stream
from tests.media.make_media import encode, speech
from transcoder.demux.packets import Packet
from transcoder.demux.webm import WebmDemuxer
from transcoder.stream_pool import StreamPool

PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
async def streams(redis_server: EmbeddedServer) -> AsyncIterator[StreamPool]:
    async with transcoding(redis_server.url) as streams:
        yield streams


@pytest.fixture
async def parley(redis_server: EmbeddedServer, streams: StreamPool) -> AsyncIterator[System]:
    async with system(redis_server, Options(speed=0), gateways=2) as parley:
        yield parley


def as_recorded(name: str) -> list[bytes]:
    """The browser's own chunks."""
    data, chunks = stream(name), []
    for size in json.loads((RECORDED / f"{name}.json").read_text()):
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data] if data else chunks


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def heard(parley: System, session: int = 0) -> bytes:
    """What the model has got."""
    sessions = parley.simulator.sessions
    return bytes(sessions[session].recording.appended) if len(sessions) > session else b""


def spoken_turn() -> bytes:
    """Somebody says something, and is silent then."""
    said = np.concatenate([speech("speech_jfk", 48_000, "mono")[: 2 * 48_000], np.zeros(2 * 48_000, np.int16)])
    return encode(said, rate=48_000, codec="libopus", container="webm")


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not done():  # noqa: ASYNC110 - the model's stand-in has no event for it
            await asyncio.sleep(0.005)


def is_all_of(parley: System, wanted: bytes, session: int = 0) -> Callable[[], bool]:
    """All but what the resampler holds back until the recording ends: 1.5 ms."""
    return lambda: len(heard(parley, session)) >= len(wanted) - 2 * 40


async def push_to_talk(client: Talker) -> None:
    await client.hear()
    await client.say("session.update", session=PUSH_TO_TALK)
    await client.until("session.updated")


# ── the openai door ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FILES)
async def test_a_browsers_recording_is_heard_as_it_is(parley: System, name: str) -> None:
    """In events and in binary frames, to the bit; and its turn ends where the client ends it."""
    wanted = decode([stream(name)])
    async with parley.talker("?input=stream") as client:
        await push_to_talk(client)
        for n, chunk in enumerate(as_recorded(name)):
            if n % 2:
                await client.append(chunk)
            else:
                await client.ws.send_bytes(chunk)
        await client.say("input_audio_buffer.commit")
        await client.say("response.create")
        events = await client.until("response.done")
        assert not [event for event in events if event["type"] == "error"]
        assert wanted.startswith(heard(parley))
        assert is_all_of(parley, wanted)()
        assert spoken(events) == heard(parley)  # the model echoes


async def test_raw_packets_and_samples(parley: System) -> None:
    packets = [event.data for event in WebmDemuxer().feed(stream("live_opus.webm")) if isinstance(event, Packet)]
    samples = random.Random(1).randbytes(96_000)
    for n, (source, chunks) in enumerate({"opus": packets, "pcm_mulaw 8000": cut(samples, 1_001)}.items()):
        async with parley.talker(f"?input={source}") as client:
            await push_to_talk(client)
            for chunk in chunks:
                await client.append(chunk)
            wanted = decode(chunks, source)
            await until(lambda n=n, wanted=wanted: len(heard(parley, n)) >= len(wanted) - 300)  # type: ignore[misc]
            assert wanted.startswith(heard(parley, n))


async def test_two_at_once_stay_apart(parley: System) -> None:
    """And keep their order with what else they say."""

    async def talk(client: Talker, name: str) -> None:
        await push_to_talk(client)
        for chunk in as_recorded(name):
            await client.append(chunk)
            await client.append(b"")
        await client.say("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")

    names = ("chromium_opus.webm", "firefox_opus.ogg")
    async with parley.talker("?input=stream") as one, parley.talker("?input=stream", gateway=1) as other:
        await asyncio.gather(*(talk(client, name) for client, name in zip((one, other), names, strict=True)))
    got = sorted((heard(parley, 0), heard(parley, 1)), key=len)
    wanted = sorted((decode([stream(name)]) for name in names), key=len)
    assert all(whole.startswith(part) and len(whole) - len(part) <= 80 for whole, part in zip(wanted, got, strict=True))


async def test_the_model_finds_the_turns(parley: System) -> None:
    """Nobody commits: silence in the recording does."""
    async with parley.talker("?input=stream") as client:
        await client.hear()
        for chunk in cut(spoken_turn(), 1_000):
            await client.append(chunk)
        events = await client.until("response.done")
    assert "input_audio_buffer.speech_started" in [event["type"] for event in events]


async def test_a_broken_stream_is_told_and_the_next_recording_works(parley: System) -> None:
    wanted = decode([stream("live_opus.webm")])
    async with parley.talker("?input=stream") as client:
        await push_to_talk(client)
        for chunk in cut(stream("live_opus.webm")[5_000:], 3_000):
            await client.append(chunk)
        error = (await client.until("error"))[-1]["error"]
        assert "record" in error["message"] or "audio" in error["message"]
        for chunk in cut(stream("live_opus.webm"), 3_000):
            await client.append(chunk)
        await until(is_all_of(parley, wanted))
        assert wanted.startswith(heard(parley))


async def test_lost_chunks_are_told_and_are_silence_once(parley: System) -> None:
    data = stream("live_opus.webm")
    async with parley.talker("?input=stream") as client:
        await push_to_talk(client)
        for chunk in [*cut(data, 500)[:8], *cut(data, 500)[11:]]:
            await client.append(chunk)
        error = (await client.until("error"))[-1]["error"]
        assert error["code"] == "damaged_media"
        await client.say("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")
        assert abs(len(heard(parley)) - len(decode([data]))) / 48 < 30


def can_be_killed(parley: System, streams: StreamPool, deaths: int) -> bool:
    return bool(heard(parley)) and streams.replaced == deaths and bool(streams.pids)


async def test_a_killed_decoder_is_not_noticed(parley: System, streams: StreamPool) -> None:
    name = "chromium_opus.webm"
    wanted = decode([stream(name)])
    async with parley.talker("?input=stream") as client:
        await push_to_talk(client)
        for n, chunk in enumerate(cut(stream(name), 400)):
            await client.append(chunk)
            if n in (10, 30):
                await until(partial(can_be_killed, parley, streams, (n - 10) // 20))
                os.kill(streams.pids[0], signal.SIGKILL)
        await until(is_all_of(parley, wanted))
        assert streams.replaced == 2
        assert len(wanted) - len(heard(parley)) <= 80
        assert not [event for event in client.log if event["type"] == "error"]


@pytest.mark.parametrize("cuts", [12])
async def test_a_numbering_client_loses_nothing_and_doubles_nothing(parley: System, cuts: int) -> None:
    """Whatever breaks, on any gateway; its numbers are places in `up`."""
    name, chance = "chromium_opus.webm", random.Random(3)
    client = NumberedClient(parley, "?parley=1&input=stream")
    await client.connect(0)
    await client.say("session.update", session=PUSH_TO_TALK)
    chunks = cut(stream(name), len(stream(name)) // (cuts * 8))
    for n, chunk in enumerate(chunks):
        await client.append(chunk)
        if chance.random() < 0.3:
            await asyncio.sleep(0.002)
        if n % 8 == 7:
            await client.cut()
            await client.connect(n // 8 % 2)
    wanted = decode([stream(name)])
    await until(is_all_of(parley, wanted))
    await client.until(lambda: client.acked == client.sent)
    assert wanted.startswith(heard(parley))
    assert not [reply for reply in client.replies if reply["type"] in ("error", "parley.resync")]
    await client.close()


async def test_samples_at_the_models_rate_stay_as_they_are(parley: System) -> None:
    """Numbered, through breaking lines and the transcoder: each frame is heard once, and comes back once."""
    client = NumberedClient(parley, "?parley=1&input=pcm_s16le%2024000")
    await client.connect(0)
    await client.say("session.update", session=PUSH_TO_TALK)
    for number in range(60):
        await client.append(coded_frame(number))
        if number % 20 == 19:
            await client.cut()
            await client.connect(number // 20 % 2)
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")
    sent = b"".join(map(coded_frame, range(60)))
    await client.until(lambda: len(client.audio) >= len(sent))
    assert client.audio == heard(parley) == sent
    await client.close()


async def test_a_numbered_binary_frame_begins_with_its_number(parley: System) -> None:
    data = stream("live_opus.webm")
    async with parley.talker("?parley=1&input=stream") as client:
        await client.hear()
        for useq, chunk in ((1, data[:5_000]), (1, data[:5_000]), (2, data[5_000:])):
            await client.ws.send_bytes(useq.to_bytes(8, "big") + chunk)
        await client.until(lambda event: event["type"] == "parley.ack" and event["useq"] == 2)
        await client.ws.send_bytes(b"short")
        assert (await client.until("error"))[-1]["error"]["param"] == "useq"
        await until(is_all_of(parley, decode([data])))


async def test_what_is_stored_is_up(parley: System, redis: Redis) -> None:
    """`pcm` is the transcoder's; nothing of the client's overtakes on it."""
    async with parley.talker("?input=opus") as client:
        session = (await client.hear())["session"]["id"].removeprefix("sess_")
        await client.append(b"\xfc\xff\xfe")
        await client.say("response.cancel")
        await client.until("error")  # there is nothing to cancel: the model says so
        kinds = [type(entry.message) for entry in await read(redis, SessionKeys(session).pcm, pcm.decoder)]
        assert kinds[-1] is ClientEvent
        assert pcm.MediaError not in kinds
        assert await redis.exists(SessionKeys(session).up)


@pytest.mark.parametrize("named", ["webm", "pcm_s24le 48000", "opus 1"])
async def test_an_input_that_there_is_not_is_refused_before_it_begins(parley: System, named: str) -> None:
    for path in ("/v1/realtime", "/v1/realtime/sse"):
        async with parley.http.get(f"{parley.urls[0]}{path}", params={"input": named}) as response:
            assert response.status == 400
            assert "stream" in (await response.json())["error"]


async def test_over_http_a_body_is_the_recording(parley: System) -> None:
    """Streamed as it is made, cut where the network cuts it; control comes by requests of its own."""
    name, url = "firefox_opus.webm", parley.urls[0]
    wanted = decode([stream(name)])
    async with parley.http.get(f"{url}/v1/realtime/sse", headers={"X-Parley-Input": "stream"}) as events:
        sid = ""
        async for line in events.content:
            if line.startswith(b"data: "):
                sid = json.loads(line[6:])["session"]["id"]
                break

        async def body() -> AsyncIterator[bytes]:
            for chunk in as_recorded(name):
                yield chunk
                await asyncio.sleep(0)

        await post(parley, 1, f"events?session={sid}", json={"type": "session.update", "session": PUSH_TO_TALK})
        assert await post(parley, 1, f"audio?session={sid}", data=body()) == {"bytes": len(stream(name))}
        await until(is_all_of(parley, wanted))
        append = {"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(stream(name))}
        await post(parley, 0, f"events?session={sid}", json=append)
        await until(is_all_of(parley, wanted + wanted))
        assert (wanted + wanted).startswith(heard(parley))
        assert await post(parley, 0, f"end?session={sid}") == {"ended": True}


async def test_a_body_has_no_ends_of_packets(parley: System) -> None:
    async with parley.http.get(f"{parley.urls[0]}/v1/realtime/sse?input=opus") as events:
        async for line in events.content:
            if line.startswith(b"data: "):
                sid = json.loads(line[6:])["session"]["id"]
                break
        async with parley.http.post(f"{parley.urls[0]}/v1/realtime/audio?session={sid}", data=b"x") as response:
            assert response.status == 409


async def post(parley: System, gateway: int, path: str, **what: Any) -> Object:
    async with parley.http.post(f"{parley.urls[gateway]}/v1/realtime/{path}", **what) as response:
        answer: Object = await response.json()
        assert response.status == 200, answer
        return answer


# ── the iOS door ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_uploads_may_be_a_recording_as_it_is_made(parley: System) -> None:
    """Each POST its next bytes, to any gateway; odd ones and single ones too."""
    wanted = decode([stream("chromium_opus.webm")])
    created = {"input_format": "stream", "packetTimestamps": True}
    async with parley.http.post(f"{parley.urls[0]}/api/sessions", json=created) as answer:
        record = await answer.json()
    pieces = [b"\x1a", *cut(stream("chromium_opus.webm")[1:], 1_001)]
    for number, piece in enumerate(pieces):
        url = f"{parley.urls[number % 2]}/api/sessions/{record['id']}/upload_audio"
        async with parley.http.post(url, data=bytes(8) + piece) as answer:
            assert await answer.json() == {"status": "ok", "bytes_received": 8 + len(piece)}
    await until(is_all_of(parley, wanted))
    assert wanted.startswith(heard(parley))


# ── the mobile door's sibling ───────────────────────────────────────────────────────────────────────────────────────


class Page:
    """A page that speaks raw JSON, as `/ws/{user_id}` has it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def say(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            await self._ws.send_json({"type": "audio", "data": pybase64.b64encode_as_string(chunk)})

    async def ask(self, message: object) -> Object:
        await self._ws.send_json(message)
        return await self.hear()

    async def hear(self) -> Object:
        message = await self._ws.receive(LIMIT_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        answer: Object = json.loads(message.data)
        return answer


async def test_a_page_talks_and_is_answered(parley: System) -> None:
    """The recorder's chunks, some of them empty; the model finds the turn, and its answer comes as the page expects it."""
    wanted = decode([stream("chromium_opus.webm")])
    async with parley.http.ws_connect(f"{parley.urls[0]}/ws/ann") as ws:
        page = Page(ws)
        assert await page.ask({"type": "ping"}) == {"type": "pong"}
        await page.say([*as_recorded("chromium_opus.webm"), b""])
        await until(is_all_of(parley, wanted))
        await page.say(cut(spoken_turn(), 2_000))  # stopped, and started again
        both = wanted + decode([spoken_turn()])
        await until(is_all_of(parley, both))
        assert both.startswith(heard(parley))
        answer = await page.hear()
        while answer["type"] != "audio_response":
            answer = await page.hear()
        assert answer.keys() == {"type", "audio", "text", "mime_type"}
        assert (answer["text"], answer["mime_type"]) == ("", "audio/pcm")
        assert pybase64.b64decode(answer["audio"])


async def test_a_page_that_drops_goes_on_in_the_same_session(parley: System) -> None:
    wanted = decode([stream("live_opus.webm")])
    for gateway in range(2):
        async with parley.http.ws_connect(f"{parley.urls[gateway]}/ws/ann") as ws:
            await Page(ws).say(cut(stream("live_opus.webm"), 4_000))
            await until(is_all_of(parley, wanted * (gateway + 1)))
    assert len(parley.simulator.sessions) == 1
    assert (wanted * 2).startswith(heard(parley))


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ('{"type": "audio"}', "data"),
        ('{"type": "audio", "data": "%%"}', "base64"),
        ('{"type": "sing"}', "sing"),
        ("[]", "type"),
        ("no json", "JSON"),
    ],
)
async def test_what_a_page_gets_wrong_is_told(parley: System, said: str, word: str) -> None:
    async with parley.http.ws_connect(f"{parley.urls[0]}/ws/ann") as ws:
        await ws.send_str(said)
        error = json.loads((await ws.receive(LIMIT_S)).data)
        assert error["type"] == "error"
        assert word in error["message"]
        await ws.send_bytes(b"x")
        assert json.loads((await ws.receive(LIMIT_S)).data)["type"] == "error"
        assert await Page(ws).ask({"type": "ping"}) == {"type": "pong"}


async def test_a_page_whose_recording_is_broken_is_told(parley: System) -> None:
    async with parley.http.ws_connect(f"{parley.urls[0]}/ws/ann") as ws:
        page = Page(ws)
        await page.say([b"this is no recording at all, but a text that is long enough to be seen"])
        assert (await page.hear())["type"] == "error"
        await page.say(cut(stream("live_opus.webm"), 4_000))
        await until(is_all_of(parley, decode([stream("live_opus.webm")])))


# ── the mobile door ─────────────────────────────────────────────────────────────────────────────────────────────────


class App(Page):
    """As `/ws-mobile/{user_id}` has it."""

    async def say(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            await self._ws.send_json({"type": "audio", "audio": pybase64.b64encode_as_string(chunk)})


async def test_the_app_talks_while_it_records(parley: System) -> None:
    """The model finds the turn; a persona, and a line that drops, change nothing about the stream."""
    wanted = decode([stream("live_opus.webm")])
    for gateway in range(2):
        async with parley.http.ws_connect(f"{parley.urls[gateway]}/ws-mobile/ann?input_format=stream") as ws:
            app = App(ws)
            await app.say(cut(stream("live_opus.webm"), 4_000))
            await until(is_all_of(parley, wanted * (gateway + 1)))
            if gateway:
                await app.say(cut(spoken_turn(), 2_000))
                answer = await app.hear()
                while answer["type"] != "audio_response":
                    answer = await app.hear()
                assert pybase64.b64decode(answer["audio"])
    assert len(parley.simulator.sessions) == 1
    assert heard(parley).startswith(wanted * 2)


@pytest.mark.parametrize(("query", "wanted"), [("", "stream"), ("?input_format=stream", "auto")])
async def test_chunks_and_whole_recordings_have_sessions_of_their_own(parley: System, query: str, wanted: str) -> None:
    async with parley.http.ws_connect(f"{parley.urls[0]}/ws-mobile/ann{query}") as ws:
        app = App(ws)
        refused = await app.ask({"type": "config", "input_format": wanted})
        assert refused["type"] == "error"
        assert "connect again" in refused["error"]
        assert (await app.ask({"type": "config", "audio_format": "wav"}))["type"] == "config_ack"
