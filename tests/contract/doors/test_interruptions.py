"""An interruption at each door: no more is said of what nobody wants to hear, and the bridge is told how much was heard."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pybase64
import pytest

from gateway import stopping
from gateway.pace import AHEAD_S
from streams import down, turns
from streams.ids import EntryId
from streams.stopping import Stop
from tests.contract.doors.ios_stage import kept, listening
from tests.contract.doors.stage import LIMIT_S, Bridge, Stage
from tests.contract.doors.watch_app import streaming

TENTH = bytes(range(1, 241)) * 20
"""4,800 bytes without a zero: a tenth of a second"""

TENTHS = 40


@dataclass
class Listener:
    """A client that does nothing but listen."""

    bridge: Bridge
    ms: Callable[[], float]
    """of audio that it was sent so far"""
    interrupted: Callable[[], list[Any]]
    """what it was told of interruptions"""


@asynccontextmanager
async def phone(stage: Stage, path: str, user: str, name: str) -> AsyncIterator[Listener]:
    """At a door of JSON over WebSocket."""
    heard: list[dict[str, Any]] = []
    async with stage.client(path) as client:

        async def listen() -> None:
            while True:
                heard.append(await client.hear())

        task = asyncio.create_task(listen())
        audio = {"audio_response": "audio", "response.output_audio.delta": "delta"}

        def ms() -> float:
            pieces = [event[audio[event["type"]]] for event in heard if event["type"] in audio]
            return sum(len(pybase64.b64decode(piece)) for piece in pieces) / 48

        try:
            bridge = await stage.bridge(await stage.session(user, name))
            yield Listener(bridge, ms, lambda: [event for event in heard if event["type"] == "interrupted"])
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def watch(stage: Stage, query: str) -> AsyncIterator[Listener]:
    async with streaming(stage.url, f"conversationId=c1{query}") as stream:

        async def listen() -> None:
            while True:
                await stream.hear()

        def ms() -> float:
            return sum(len(base64.b64decode(event.data)) for event in stream.events if event.name == "audio_response") / 48

        task = asyncio.create_task(listen())
        try:
            bridge = await stage.bridge(await stage.session("anonymous", "c1"))
            yield Listener(bridge, ms, lambda: [event for event in stream.events if event.name == "interrupted"])
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def ios(stage: Stage) -> AsyncIterator[Listener]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(kept(stage.url))
        sid = await app.create(sampleRate=24_000)
        wav = await stack.enter_async_context(listening(stage.url, sid))

        async def listen() -> None:
            while True:
                await wav.read()

        task = asyncio.create_task(listen())
        try:
            bridge = await stage.bridge(await stage.session("anonymous", sid))
            yield Listener(bridge, lambda: len(wav.heard) / 24, list)
        finally:
            task.cancel()
            await asyncio.wait([task])


DOORS = {
    "mobile": lambda stage: phone(stage, "/ws-mobile/ann", "ann", "ann"),
    "mobile, not paced": lambda stage: phone(stage, "/ws-mobile/ann?paced=0", "ann", "ann"),
    "web": lambda stage: phone(stage, "/ws/ann", "ann", "ws/ann"),
    "web, not paced": lambda stage: phone(stage, "/ws/ann?paced=0", "ann", "ws/ann"),
    "watch": lambda stage: watch(stage, ""),
    "watch, paced": lambda stage: watch(stage, "&paced=1"),
    "ios": ios,
}
PACED = ("mobile", "web", "watch, paced", "ios")


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not done():  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)


async def answer(bridge: Bridge, item: str = "i1") -> None:
    await bridge.say(*(down.Audio("r1", item, 0, 100 * n, TENTH) for n in range(TENTHS)))


@pytest.mark.parametrize("door", DOORS)
async def test_nothing_more_is_said_and_the_bridge_knows_what_was_heard(stage: Stage, door: str) -> None:
    """Half of the sound that was sent has been heard, and none of the rest is sent; what comes next is."""
    async with DOORS[door](stage) as listener:
        began = asyncio.get_running_loop().time()
        await answer(listener.bridge)
        await until(lambda: listener.ms() >= (500 if door in PACED else 4000))
        heard = await listener.bridge.stop("i1")
        passed_ms = (asyncio.get_running_loop().time() - began) * 1000
        sent_ms = listener.ms()
        assert heard["i1", 0] <= min(passed_ms, sent_ms + 100)
        if door in PACED:
            assert heard["i1", 0] >= sent_ms - 1000 * AHEAD_S - 100
            assert sent_ms <= passed_ms + 1000 * AHEAD_S
        await listener.bridge.say(down.Interrupted("i1", 0, heard["i1", 0]))
        before = listener.ms()
        await listener.bridge.say(down.Audio("r1", "i1", 0, 4000, TENTH), down.Audio("r2", "i2", 0, 0, TENTH))
        await until(lambda: listener.ms() >= before + 100)
        assert listener.ms() <= sent_ms + 100 + 100, "the new answer, and what was on its way"
        assert bool(listener.interrupted()) is (door not in ("mobile", "web", "ios"))


@pytest.mark.parametrize("door", PACED)
async def test_a_listener_that_cannot_be_silenced_is_sent_little_ahead(stage: Stage, door: str) -> None:
    """At no moment more than it has had time to play, and a quarter of a second."""
    async with DOORS[door](stage) as listener:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await answer(listener.bridge)
        while listener.ms() < 1500:
            assert listener.ms() <= (loop.time() - began) * 1000 + 1000 * AHEAD_S + 100
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("door", ["mobile", "web", "watch, paced"])
async def test_an_interruption_is_found_when_the_word_of_it_was_lost(stage: Stage, door: str) -> None:
    """The gateway's connection to the bus breaks; when it is back, what is void in the stream is looked for."""
    async with DOORS[door](stage) as listener:
        await answer(listener.bridge)
        await until(lambda: listener.ms() >= 300)
        await listener.bridge.say(down.Interrupted("i1", 0, 300), down.Audio("r2", "i2", 0, 0, TENTH * 2))
        await stage.redis.client_kill_filter(_type="pubsub")
        session = listener.bridge.session
        await stage.arrived(session, await stage.newest(session))
        assert listener.ms() < 4000, "most of it was never sent"


async def test_each_door_asks_for_what_it_knows_only(stage: Stage) -> None:
    """Items that a connection has never seen are not in its answer."""
    async with DOORS["mobile"](stage) as listener:
        await answer(listener.bridge)
        await until(lambda: listener.ms() >= 300)
        assert list(await listener.bridge.stop("i0", "i1")) == [("i1", 0)]


@pytest.fixture
def is_asked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The gateway is, by the bridge. It waits for the client's last report as long as that takes."""
    monkeypatch.setattr(stopping, "LAST_REPORT_S", LIMIT_S)
    stop, asked = stopping.Stopping.stop, asyncio.Event()

    def note(self: stopping.Stopping, word: Stop) -> None:
        stop(self, word)
        asked.set()

    monkeypatch.setattr(stopping.Stopping, "stop", note)
    return asked


async def test_a_client_of_the_openai_door_reports_what_it_has_played(stage: Stage, is_asked: asyncio.Event) -> None:
    """It is told that the user speaks, falls silent and says where: that is waited for, and taken at its word."""
    async with stage.http.ws_connect(f"{stage.url}/v1/realtime?parley=1&barge_in=server") as ws:
        created = await ws.receive_json()
        session = await stage.session_by_id(created["session"]["id"])
        opened = await stage.opened(session)
        assert isinstance(opened, turns.Opened)
        assert opened.cuts_answers
        bridge = await stage.bridge(session)
        await answer(bridge)
        event = [await ws.receive_json() for _ in range(TENTHS)][-1]
        report = {"type": "parley.played", "did": event["did"], "item_id": "i1"}
        await ws.send_json({**report, "played_ms": 100})
        await stage.played(session, EntryId.parse(event["did"]))

        async def fall_silent() -> None:
            while (await ws.receive_json())["type"] != "input_audio_buffer.speech_started":
                pass
            await ws.send_json({**report, "played_ms": 777})

        silent = asyncio.create_task(fall_silent())
        stopped = asyncio.create_task(bridge.stop("i1"))
        await is_asked.wait()
        await bridge.say_event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        assert (await stopped)["i1", 0] == 777
        await silent


async def test_a_report_by_request_reaches_the_gateway_where_the_client_listens(
    stage: Stage, is_asked: asyncio.Event
) -> None:
    """Over plain HTTP reports go to any gateway; the one with the stream answers the bridge."""
    async with stage.http.get(f"{stage.url}/v1/realtime/sse?parley=1&barge_in=server") as stream:
        created = (await _event(stream))["session"]["id"]
        bridge = await stage.bridge(await stage.session_by_id(created))
        await answer(bridge)
        event = [await _event(stream) for _ in range(TENTHS)][-1]

        async def report(ms: int) -> None:
            played = {"type": "parley.played", "did": event["did"], "item_id": "i1", "played_ms": ms}
            async with stage.http.post(f"{stage.url}/v1/realtime/events?session={created}", json=[played]) as answered:
                assert answered.status == 200, await answered.text()

        await report(100)
        stopped = asyncio.create_task(bridge.stop("i1"))
        await is_asked.wait()
        await report(3456)
        assert (await stopped)["i1", 0] == 3456


async def _event(stream: Any) -> dict[str, Any]:
    while True:
        line = (await stream.content.readline()).decode()
        if line.startswith("data:"):
            event: dict[str, Any] = json.loads(line[5:])
            return event
