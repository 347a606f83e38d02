"""A session that streams, a bridge on it, and a model that breaks as it is told: what tests of continuity are played on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec
import numpy as np
import pytest

from realtime_bridge.personas import Personas
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from simulator.answers import Output, Question, Speech
from simulator.audio_format import PCM
from simulator.options import Options
from streams import down, pcm, turns
from streams.consumer import Consumer
from streams.dispatch import Assignment
from streams.hub import Hub
from streams.ids import BIRTH, EntryId
from streams.messages import Message
from streams.producer import Marked, Producer
from streams.sessions import Session, Sessions

MS = 48
FRAME_MS = 40

PERSONAS = Personas.parse(
    """{"default": "sun", "personas": {
    "sun": {"instructions": "Be warm.", "voice": "marin", "greeting": ""},
    "moon": {"instructions": "Be cool.", "voice": "marin", "greeting": "Say good night."}}}"""
)


def speech(turn: int, ms: int = 400) -> bytes:
    """What turn detection takes for speech, and nobody else says."""
    return np.random.default_rng(turn).integers(-16_000, 16_000, ms * 24).astype("<i2").tobytes()


def silence(ms: int) -> bytes:
    return bytes(ms * MS)


REST = speech(1_000, 200)
"""What the model says when it was asked for an answer to nothing new: a greeting, or the rest of an answer."""


@dataclass(frozen=True)
class EchoAndRest:
    """The utterance; without one, something else."""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        heard = question.utterance
        if heard is None or not heard.audio:
            return (Speech("And that is all there is to say.", REST, PCM),)
        return (Speech("You said something, and I say it again, word by word.", heard.audio, heard.format),)


AT_ONCE = Options(answer=EchoAndRest(), speed=0.0, transcription_delay_s=0.0)

PROBE = 40 * MS
"""So much of the beginning of a speech tells it from the others."""


def settings_for(monkeypatch: pytest.MonkeyPatch, base_url: str, **more: str) -> BridgeSettings:
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    return BridgeSettings.load()


@dataclass
class Call:
    """A client that streams, and what it hears."""

    hub: Hub
    session: Session
    bridge: SessionBridge
    told: list[down.DownMessage] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    bridging: list[asyncio.Task[bool]] = field(default_factory=list)
    """each bridge that it has had"""

    def __post_init__(self) -> None:
        self.uplink = Producer(self.hub.writer, self.session.keys.pcm, Marked("test"))

    def says(self, audio: bytes) -> None:
        size = FRAME_MS * MS
        for start in range(0, len(audio), size):
            self.uplink.append(pcm.Audio(audio[start : start + size]))

    def records(self, audio: bytes, arrived_ms: int) -> None:
        """A whole recording."""
        self.says(audio)
        self.uplink.append(pcm.UtteranceEnd(samples=len(audio) // 2, arrived_ms=arrived_ms, source="test"))

    def tells(self, message: Message) -> None:
        self.uplink.append(message)

    def bridges(self) -> None:
        """The bridge begins."""
        self.bridging.append(asyncio.create_task(self.bridge.run()))

    async def relieve(self) -> None:
        """Another bridge takes the session over, when this one has left it."""
        await self.leave()
        self.inherit()

    async def leave(self) -> None:
        """Nobody has the session."""
        self.bridge.leave()
        async with asyncio.timeout(20):
            while await self.hub.redis.exists(self.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def inherit(self) -> None:
        """Another bridge has it."""
        assignment = Assignment(EntryId(1, 1 + len(self.bridging)), self.session)
        self.bridge = SessionBridge(assignment, self.bridge._r)
        self.bridges()

    async def listen(self) -> None:
        k = self.session.keys
        async with Consumer(self.hub.redis, self.hub.bus, k.down, down.decoder, after=BIRTH) as entries:
            async for entry in entries:
                self.told.append(entry.message)
                self.news.set()
                if isinstance(entry.message, down.Ended):
                    return

    async def until(self, wanted: Callable[[Call], bool], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not wanted(self):
                self.news.clear()
                await self.news.wait()

    @property
    def heard(self) -> bytes:
        return b"".join(message.audio for message in self.told if isinstance(message, down.Audio))

    @property
    def is_connected(self) -> bool:
        """The client was told of no break, or also that it is over."""
        lasting = [message for message in self.told if isinstance(message, down.Reconnecting | down.Resumed)]
        return not lasting or isinstance(lasting[-1], down.Resumed)

    @property
    def events(self) -> list[str]:
        """The names of the model's events that the client was told."""
        return [message.type for message in self.told if isinstance(message, down.ServerEvent)]

    @property
    def completed(self) -> int:
        """Answers that the client was told the end of."""
        return self.statuses.count("completed")

    @property
    def statuses(self) -> list[str]:
        done = [m.body for m in self.told if isinstance(m, down.ServerEvent) and m.type == "response.done"]
        return [msgspec.json.decode(body)["response"]["status"] for body in done]

    @property
    def failures(self) -> list[str]:
        return [message.code for message in self.told if isinstance(message, down.Failed)]


@asynccontextmanager
async def bridged(
    hub: Hub,
    settings: BridgeSettings,
    user: str = "ann",
    opened: turns.Opened | None = None,
    personas: Personas = PERSONAS,
) -> AsyncIterator[Call]:
    """A session with a bridge on it, and a client that listens."""
    opened = opened or turns.Opened(user=user, door="watch", turn_mode="server_vad")
    session = (await Sessions(hub.redis).create(opened, user)).session
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        resources = Resources(settings, personas, hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        call = Call(hub, session, bridge)
        call.bridges()
        listening = asyncio.create_task(call.listen())
        try:
            yield call
        finally:
            call.bridge.end("the test is over")
            await asyncio.wait_for(asyncio.gather(*call.bridging, listening), 10)
