"""Behind HAProxy and nginx nothing is held back: each event is there before the next is asked for, each piece of an upload
is stored before the next is sent. Whoever kept a single one of them would stop these conversations for good."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from secrets import token_hex

import aiohttp
import pytest
from redis.asyncio import Redis

from cli.load.lines import Event, events
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from streams.connection import text
from streams.keys import SessionKeys
from tests.acceptance.balancers.balancer import KINDS, Kind, balancing
from tests.acceptance.conftest import simulator
from tests.acceptance.fleet import Fleet
from tests.acceptance.phone import calling
from tests.media.make_media import speech

TURNS = 10
LIMIT_S = 20.0
IDLE_S = float(os.environ.get("PARLEY_BALANCER_IDLE_S", "2"))
"""How long nobody says anything; `make soak` has two minutes and more."""

SPEECH = speech("speech_espeak", 24_000, "mono")[:24_000].astype("<i2").tobytes()
ENDLESS = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True)
class Stage:
    balancers: dict[Kind, str]
    redis_url: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two gateways, a transcoder and a bridge, and both load balancers in front."""
    with EmbeddedServer() as redis, simulator(Options(speed=10.0)) as base_url, ExitStack() as opened:
        fleet = Fleet(redis.url, base_url)
        opened.callback(fleet.close)
        gateways = [fleet.start("gateway").url.removeprefix("ws://") for _ in range(2)]
        fleet.start("transcoder")
        fleet.start("realtime_bridge")
        fronts = {kind: opened.enter_context(balancing(kind, gateways, tmp_path_factory.mktemp(kind))) for kind in KINDS}
        yield Stage(fronts, redis.url)


@pytest.fixture(params=KINDS)
def url(stage: Stage, request: pytest.FixtureRequest) -> str:
    """http://… of each of them."""
    return f"http://{stage.balancers[request.param]}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A connection for each request: none of them goes where the one before went, but by chance."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(url, connector=connector, timeout=ENDLESS) as session:
        yield session


@pytest.fixture
async def streams(stage: Stage) -> AsyncIterator[Redis]:
    client = Redis.from_url(stage.redis_url, decode_responses=True)
    yield client
    await client.aclose()


async def until(told: AsyncIterator[Event], name: str) -> Event:
    async with asyncio.timeout(LIMIT_S):
        async for event in told:
            assert event.name != "error", event
            if event.name == name:
                return event
    raise AssertionError(f"The stream has ended without {name}.")


async def last_ids(streams: Redis, sid: str) -> tuple[str, ...]:
    """Of what the client has said, decoded or not."""
    return tuple([text(mark or "") for mark in await streams.hmget(SessionKeys(sid).marks, "up", "pcm")])


class Upload:
    """A body that grows by what is `put`, and ends with None."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.put = self._pieces.put_nowait

    async def body(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def stored_at_once(self, streams: Redis, sid: str) -> None:
        """A piece is in Redis before the next is sent."""
        async with asyncio.timeout(LIMIT_S):
            for at in range(0, 2_000 * TURNS, 2_000):
                before = await last_ids(streams, sid)
                self.put(SPEECH[at : at + 2_000])
                while await last_ids(streams, sid) == before:  # noqa: ASYNC110 - nobody tells of what is stored
                    await asyncio.sleep(0.005)


async def test_each_event_and_each_piece_of_an_upload_at_once(http: aiohttp.ClientSession, streams: Redis) -> None:
    """At the watch's door."""
    query = {"conversationId": token_hex(8)}
    async with http.get("/realtime/stream", params=query) as stream:
        told = events(stream)
        await until(told, "conversation_started")
        (index,) = await streams.keys(f"parley:at:*:{query['conversationId']}")
        upload = Upload()
        sending = asyncio.create_task(_post(http, "/realtime/upload", upload, query))
        await upload.stored_at_once(streams, text(await streams.get(index) or ""))
        await until(told, "speech_started")
        assert not sending.done()
        upload.put(None)
        assert await sending == 200
        async with http.post("/realtime/end", params=query) as ended:
            assert ended.status == 200
        await until(told, "conversation_ended")


async def _post(http: aiohttp.ClientSession, path: str, upload: Upload, query: dict[str, str]) -> int:
    async with http.post(path, params=query, data=upload.body()) as answer:
        await answer.read()
        return answer.status


async def test_events_and_requests_in_turn(http: aiohttp.ClientSession, streams: Redis) -> None:
    """At the OpenAI door without a WebSocket: each request's event comes before the next request; a body as it is made."""
    async with http.get("/v1/realtime/sse?model=any") as stream:
        told = events(stream)
        session = json.loads((await until(told, "session.created")).data)["session"]["id"]
        for turn in range(TURNS):
            update = {"type": "session.update", "session": {"type": "realtime", "instructions": f"{turn}"}}
            async with http.post(f"/v1/realtime/events?session={session}", json=update) as answer:
                assert answer.status == 200, await answer.text()
            updated = json.loads((await until(told, "session.updated")).data)
            assert updated["session"]["instructions"] == f"{turn}"
        upload = Upload()
        sending = asyncio.create_task(_post(http, "/v1/realtime/audio", upload, {"session": session}))
        await upload.stored_at_once(streams, session.removeprefix("sess_"))
        assert not sending.done()
        upload.put(None)
        assert await sending == 200


async def test_both_ways_of_a_websocket_in_turn(http: aiohttp.ClientSession) -> None:
    """Words at one door, bytes at another."""
    async with http.ws_connect("/v1/realtime?model=any") as socket:
        assert (await socket.receive_json(timeout=LIMIT_S))["type"] == "session.created"
        for turn in range(TURNS):
            update = {"type": "session.update", "session": {"type": "realtime", "instructions": f"{turn}"}}
            await socket.send_json(update)
            updated = await socket.receive_json(timeout=LIMIT_S)
            assert (updated["type"], updated["session"]["instructions"]) == ("session.updated", f"{turn}")
    async with http.ws_connect("/ws") as socket:
        assert (await socket.receive_str(timeout=LIMIT_S)).startswith("Connected! ")
        for turn in range(1, TURNS + 1):
            await socket.send_bytes(bytes([0x1A, 0x45, 0xDF, 0xA3]) + bytes(turn))
            assert await socket.receive_str(timeout=LIMIT_S) == f"Received {4 + turn} bytes"


async def _opened(http: aiohttp.ClientSession) -> str:
    """A session at the iOS door, started; its address."""
    wanted = {"objective": "talk", "fileIds": [], "sampleRate": 24_000}
    async with http.post("/api/sessions", json=wanted) as response:
        path = f"/api/sessions/{(await response.json())['id']}"
    async with http.post(f"{path}/start") as response:
        assert response.status == 200
    return path


async def test_a_wav_that_never_ends_begins_at_once(http: aiohttp.ClientSession) -> None:
    """Its head is 44 bytes. Then it goes on at its pace, while requests go up."""
    path = await _opened(http)
    async with http.get(f"{path}/stream_audio") as stream, asyncio.timeout(LIMIT_S):
        assert (await stream.content.readexactly(44)).startswith(b"RIFF")
        for at in range(0, 9_600, 1_920):
            async with http.post(f"{path}/upload_audio", data=SPEECH[at : at + 1_920]) as answer:
                assert answer.status == 200
            await stream.content.readexactly(1_920)


async def test_an_address_may_be_long(http: aiohttp.ClientSession) -> None:
    """The watch puts what was said before into it."""
    history = json.dumps([{"role": "user", "content": "What was said before. " * 1_000}])
    query = {"conversationId": token_hex(8), "history": history}
    async with http.get("/realtime/stream", params=query) as stream:
        assert stream.status == 200, await stream.text()
        await until(events(stream), "conversation_started")


@pytest.mark.timeout(60 + IDLE_S)
async def test_silence_is_no_reason_to_hang_up(url: str, http: aiohttp.ClientSession) -> None:
    """On a stream of every kind; and afterwards it carries what it carried before."""
    query = {"conversationId": token_hex(8)}
    async with AsyncExitStack() as opened:
        watch = await opened.enter_async_context(http.get("/realtime/stream", params=query))
        watched = events(watch)
        await until(watched, "conversation_started")
        realtime = await opened.enter_async_context(http.get("/v1/realtime/sse?model=any"))
        told = events(realtime)
        session = json.loads((await until(told, "session.created")).data)["session"]["id"]
        path = await _opened(http)
        wav = await opened.enter_async_context(http.get(f"{path}/stream_audio"))
        playing = asyncio.create_task(_play(wav))
        opened.callback(playing.cancel)
        recorder = await opened.enter_async_context(http.ws_connect("/ws"))
        await recorder.receive_str(timeout=LIMIT_S)
        phone = await opened.enter_async_context(calling(url.replace("http", "ws", 1), token_hex(8), "?input_format=pcm16"))
        listening = [asyncio.create_task(socket.receive()) for socket in (recorder, phone.socket)]  # it answers pings
        said, _ = await asyncio.wait(listening, timeout=IDLE_S)
        assert not said
        for listener in listening:
            listener.cancel()
        await asyncio.wait(listening)
        update = {"type": "session.update", "session": {"type": "realtime", "instructions": "later"}}
        async with http.post(f"/v1/realtime/events?session={session}", json=update) as answer:
            assert answer.status == 200
        assert json.loads((await until(told, "session.updated")).data)["session"]["instructions"] == "later"
        async with http.post("/realtime/upload", params=query, data=SPEECH + bytes(48_000)) as answer:
            assert answer.status == 200
        await until(watched, "response_complete")
        await recorder.send_bytes(b"\x1a\x45\xdf\xa3")
        assert await recorder.receive_str(timeout=LIMIT_S) == "Received 4 bytes"
        assert (await phone.ask(SPEECH)).audio == SPEECH
        assert not playing.done()


async def _play(wav: aiohttp.ClientResponse) -> None:
    while await wav.content.readany():
        pass
