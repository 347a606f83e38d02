"""What the tests of the openai door stand on: gateways, a bridge and the simulator in this process, on a real Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Annotated, Any, Protocol

import aiohttp
import msgspec
import pybase64
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter

from gateway.app import serving
from gateway.settings import GatewaySettings
from realtime_bridge.personas import Personas
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from simulator.options import Options
from simulator.server import Running, running
from streams.dispatch import Assignments
from streams.hub import open_hub
from streams.workforce import Workforce
from transcoder import worker as transcoder
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool

LIMIT_S = 20.0
"""The longest that a test waits for anything."""

OFFICIAL: TypeAdapter[object] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])

Object = dict[str, Any]


class Talker:
    """A client that speaks raw JSON, and lets the official types judge all that it hears."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.log: list[Object] = []

    async def say(self, kind: str, **fields: object) -> None:
        await self.say_event({"type": kind, **fields})

    async def say_event(self, event: Object) -> None:
        await self.ws.send_str(msgspec.json.encode(event).decode())

    async def append(self, audio: bytes, **fields: object) -> None:
        await self.say("input_audio_buffer.append", audio=pybase64.b64encode_as_string(audio), **fields)

    async def hear(self) -> Object:
        """The next event."""
        message = await self.ws.receive(LIMIT_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        event: Object = msgspec.json.decode(message.data)
        if not event["type"].startswith("parley."):
            OFFICIAL.validate_json(message.data, strict=True)
        self.log.append(event)
        return event

    async def until(self, wanted: str | Callable[[Object], bool]) -> list[Object]:
        """All events up to and with the one of this type."""
        events = [await self.hear()]
        while not (events[-1]["type"] == wanted if isinstance(wanted, str) else wanted(events[-1])):
            events.append(await self.hear())
        return events

    async def hear_close(self) -> int:
        message = await self.ws.receive(LIMIT_S)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return int(message.data)

    def cut(self) -> None:
        """The network is gone: no goodbye."""
        connection = self.ws._response.connection
        assert connection is not None, (self.ws.close_code, self.ws.exception(), self.log[-3:])
        assert connection.transport is not None
        connection.transport.abort()


def spoken(events: list[Object]) -> bytes:
    """The audio that was heard."""
    return b"".join(pybase64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta")


class Served(Protocol):
    """A server, or several that are one."""

    @property
    def url(self) -> str: ...


class System:
    """Some gateways, one bridge process, one simulator."""

    def __init__(
        self, http: aiohttp.ClientSession, urls: list[str], simulator: Running, stops: Sequence[AsyncExitStack] = ()
    ) -> None:
        self.http, self.urls, self.simulator, self._stops = http, urls, simulator, stops

    async def stop_gateway(self, gateway: int) -> None:
        """As on SIGTERM."""
        await self._stops[gateway].aclose()

    @asynccontextmanager
    async def talker(self, query: str = "?model=any", gateway: int = 0) -> AsyncIterator[Talker]:
        async with self.http.ws_connect(f"{self.urls[gateway]}/v1/realtime{query}", max_msg_size=0) as ws:
            yield Talker(ws)


@asynccontextmanager
async def bridging(
    redis_url: str, base_url: str, transcription: str = "none", grace_s: float = 60.0, *, locked: bool = False
) -> AsyncIterator[None]:
    """The bridge, as `realtime_bridge.service` runs it."""
    settings = BridgeSettings(
        OPENAI_BASE_URL=base_url,
        OPENAI_API_KEY="k",
        REDIS_URL=redis_url,
        PARLEY_TRANSCRIPTION_MODEL=transcription,
        PARLEY_GRACE_S=grace_s,
        PARLEY_LOCK_INSTRUCTIONS=locked,
    )
    stop = asyncio.Event()
    async with open_hub(redis_url) as hub, aiohttp.ClientSession() as http:
        assignments = Assignments(hub, "bridge", "test")
        await assignments.open()
        resources = Resources(
            settings, Personas.load(None).locked_unless_said(settings.lock_instructions), hub, http, "test:1"
        )
        workforce = Workforce(assignments, lambda assignment: SessionBridge(assignment, resources), 100)
        task = asyncio.create_task(workforce.run(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, LIMIT_S)


@asynccontextmanager
async def transcoding(redis_url: str, *, files: bool = False) -> AsyncIterator[StreamPool]:
    """The transcoder of streams, and of whole `files`, as `transcoder.service` runs it; its decoder children."""
    stop = asyncio.Event()
    pool = DecoderPool(1)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(open_hub(redis_url))
        streams = await stack.enter_async_context(StreamPool())
        if files:
            await stack.enter_async_context(pool)
        assignments = Assignments(hub, "transcoder", "test")
        await assignments.open()
        resources = transcoder.Resources(hub, pool, streams=streams)
        workforce = Workforce(assignments, lambda each: transcoder.SessionTranscoder(each.session, resources), 100)
        task = asyncio.create_task(workforce.run(stop))
        try:
            yield streams
        finally:
            stop.set()
            await asyncio.wait_for(task, LIMIT_S)


@asynccontextmanager
async def system(
    redis: Served,
    options: Options,
    *,
    gateways: int = 1,
    transcription: str = "none",
    grace_s: float = 60.0,
    secret: str | None = None,
    locked: bool = False,
    origins: str | None = None,
) -> AsyncIterator[System]:
    """Everything at once, but for a transcoder: PCM needs none. With a `secret` clients need tokens.

    `locked`: what is the deployment's is not the clients' to change. `origins`: whose pages may talk to it.
    """
    settings = GatewaySettings(
        PORT=0,
        REDIS_URL=redis.url,
        PARLEY_TRANSCRIPTION_MODEL=transcription,
        PARLEY_GRACE_S=grace_s,
        JWT_SECRET=secret,
        PARLEY_ORIGINS=origins,
    )
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running(options))
        await stack.enter_async_context(bridging(redis.url, simulator.base_url, transcription, grace_s, locked=locked))
        stops = [await stack.enter_async_context(AsyncExitStack()) for _ in range(gateways)]
        urls = [await stop.enter_async_context(serving(settings)) for stop in stops]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield System(http, urls, simulator, stops)


FRAME_BYTES = 960
"""20 ms"""


def coded_frame(number: int) -> bytes:
    """A frame like no other."""
    return number.to_bytes(4, "big") * (FRAME_BYTES // 4)


class NumberedClient:
    """A client of our extension, as its documentation says: it loses nothing and doubles nothing, whatever breaks."""

    def __init__(self, parley: System, query: str = "?parley=1") -> None:
        self._parley, self._query = parley, query
        self.session: str | None = None
        self.sent = 0
        """the last number that was given out"""
        self.acked = 0
        self.heard: list[tuple[str, Object]] = []
        """all that had a did, in the order in which it came"""
        self.replies: list[Object] = []
        self.cuts = 0
        self._kept: deque[tuple[int, Object]] = deque()
        """events that are not known to be stored"""
        self._news = asyncio.Event()
        self._talker: Talker
        self._reader: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def connect(self, gateway: int) -> None:
        """Dial, or dial again and go on."""
        query = self._query
        if self.session is not None:
            query += f"&session={self.session}&after={self.heard[-1][0]}"
        self._talker = await self._stack.enter_async_context(self._parley.talker(query, gateway))
        first = await self._talker.hear()
        if self.session is None:
            assert first["type"] == "session.created"
            self.session = first["session"]["id"]
            self.heard.append((first["did"], first))
        else:
            assert first["type"] == "parley.resumed", first
            assert first["after"] == self.heard[-1][0]
            self._forget(first["next_useq"] - 1)
            await self._resend(first["next_useq"])
        self._reader = asyncio.create_task(self._read(self._talker))

    async def say(self, kind: str, **fields: object) -> None:
        self.sent += 1
        event = {"type": kind, "useq": self.sent, **fields}
        self._kept.append((self.sent, event))
        with suppress(ConnectionError, aiohttp.ClientError):  # it is said again when the line is back
            await self._talker.say_event(event)

    async def append(self, audio: bytes) -> None:
        await self.say("input_audio_buffer.append", audio=pybase64.b64encode_as_string(audio))

    async def cut(self) -> None:
        """The line breaks, both ways at once: what is under way is lost."""
        self.cuts += 1
        self._talker.cut()
        await self.close()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for it, looking again whenever something comes."""
        async with asyncio.timeout(LIMIT_S):
            while not done():
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        """Leave as a client does that closes its WebSocket; after a `cut` there is nothing left to close."""
        await self._stop_reading()
        await self._stack.aclose()

    @property
    def is_connected(self) -> bool:
        """Whether there is a line that could be cut."""
        connection = self._talker.ws._response.connection
        return connection is not None and connection.transport is not None

    @property
    def audio(self) -> bytes:
        return spoken([event for _, event in self.heard])

    async def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            if not self._reader.cancelled():
                self._reader.result()
            self._reader = None

    async def _read(self, talker: Talker) -> None:
        while True:
            message = await talker.ws.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            event: Object = msgspec.json.decode(message.data)
            if "did" in event:
                self.heard.append((event["did"], event))
            else:
                self.replies.append(event)
            if event["type"] == "parley.ack":
                self._forget(event["useq"])
            elif event["type"] == "parley.want":
                await self._resend(event["useq"])
            self._news.set()

    def _forget(self, useq: int) -> None:
        self.acked = max(self.acked, useq)
        while self._kept and self._kept[0][0] <= useq:
            self._kept.popleft()

    async def _resend(self, useq: int) -> None:
        assert not self._kept or self._kept[0][0] <= useq, "it wants what was acknowledged"
        with suppress(ConnectionError, aiohttp.ClientError):
            for number, event in list(self._kept):
                if number >= useq:
                    await self._talker.say_event(event)
