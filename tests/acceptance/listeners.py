"""Clients that are interrupted: each plays what it is sent as it comes, in real time, and knows what it has played."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Protocol

import aiohttp
import numpy as np

from cli.load.lines import events

BYTES_PER_S = 48_000
RNG = np.random.default_rng(5)
LOUD = (RNG.standard_normal(24_000) * 6000).astype("<i2").tobytes()
"""A second that every VAD takes for speech."""

QUIET = bytes(BYTES_PER_S)
REPORT_S = 0.1


NEXT_AFTER_S = 0.2
"""Without sound: what comes then is another answer, at doors that do not say so."""


class Player:
    """The reference: plays what it has, in order, from the moment at which it comes."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        """something of this answer is heard"""
        self.heard_until = 0.0
        """when the last sound of the answer before ends"""
        self._stretches: list[tuple[float, float]] = []
        """of sound, of this answer: when it begins, when it ends"""
        self._until = 0.0
        self._expects_another = False
        self._fed_at = 0.0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def feed(self, seconds: float, *, sound: bool = True) -> None:
        begins = max(self.now, self._until)
        self._until = begins + seconds
        if not sound:
            return
        if self._expects_another and begins - self._fed_at > NEXT_AFTER_S:
            self.next_answer()
        self._stretches.append((begins, self._until))
        self._fed_at = self._until
        self.began.set()

    @property
    def position_s(self) -> float:
        """Of this answer, heard so far."""
        return sum(max(0.0, min(self.now, end) - begin) for begin, end in self._stretches)

    @property
    def is_playing(self) -> bool:
        return self._until > self.now

    def flush(self) -> float:
        """Fall silent; how much of this answer was heard."""
        position, self._until = self.position_s, self.now
        self._stretches = [(begin, min(end, self.now)) for begin, end in self._stretches if begin < self.now]
        return position

    def expect_another(self) -> None:
        """Of all that comes without a pause nobody can tell whose it is: it is this answer's."""
        self._expects_another = True

    def next_answer(self) -> None:
        self.heard_until = self._stretches[-1][1] if self._stretches else self.heard_until
        self._stretches, self._expects_another = [], False
        self.began.clear()


class Clock(Protocol):
    """How long what was sent is."""

    def seconds(self, data: bytes) -> float: ...


class OfPcm:
    def seconds(self, data: bytes) -> float:
        return len(data) / BYTES_PER_S


class OfAdts:
    """Frames of 1,024 samples at 24 kHz. The first of an answer holds no sound; it counts, as a player plays it."""

    def seconds(self, data: bytes) -> float:
        count, at = 0, 0
        while at < len(data):
            assert data[at] == 0xFF
            assert data[at + 1] & 0xF6 == 0xF0, "a frame begins here"
            at += (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
            count += 1
        return count * 1_024 / 24_000


class OfOgg:
    """What each page says that it ends at, of 48,000 a second; a file for each answer."""

    def __init__(self) -> None:
        self._ends = 0

    def seconds(self, data: bytes) -> float:
        begins, at = self._ends, 0
        while at < len(data):
            assert data[at : at + 4] == b"OggS"
            granule, segments = int.from_bytes(data[at + 6 : at + 14], "little"), data[at + 26]
            body = at + 27 + segments
            if data[at + 5] & 2:  # the first of a file, which says how much of the beginning is not heard
                begins = self._ends = int.from_bytes(data[body + 10 : body + 12], "little")
            self._ends = max(self._ends, granule)
            at = body + sum(data[at + 27 : body])
        return (self._ends - begins) / 48_000


class Listener(Protocol):
    """A client of one door."""

    player: Player
    speech: asyncio.Event
    """it was told that the user speaks"""
    heard_s: float
    """of the answer that was interrupted last"""

    async def __aenter__(self) -> Listener: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def interrupt(self) -> None:
        """The user speaks, briefly, and then waits for an answer."""

    async def wait_for_speech(self) -> bool:
        """Whether it was told that the user speaks, and has fallen silent: some never are."""


class _Base:
    query: ClassVar[Mapping[str, str]] = {}
    """of the address: what it asks for"""
    clock: Callable[[], Clock] = OfPcm

    def __init__(self, url: str, name: str) -> None:
        self._clock = self.clock()
        self.http_url, self.ws_url = "http" + url.removeprefix("ws"), url
        self.name, self.player, self.speech, self.heard_s = name, Player(), asyncio.Event(), 0.0
        self.stack = AsyncExitStack()
        self.http: aiohttp.ClientSession

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(force_close=False)
        self.http = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))

    def task(self, work: Awaitable[None]) -> None:
        self.stack.callback(asyncio.ensure_future(work).cancel)

    def fall_silent(self) -> None:
        self.heard_s = self.player.flush()
        self.player.next_answer()
        self.speech.set()

    async def wait_for_speech(self) -> bool:
        """Whether it was told that the user speaks, and has fallen silent: some never are."""
        await asyncio.wait_for(self.speech.wait(), 10)
        return True


class Reporting(_Base):
    """At the openai door, with our extension: says all the time what it has played, and that it has fallen silent."""

    _did = _item = ""
    _useq = 0
    _socket: aiohttp.ClientWebSocketResponse

    async def __aenter__(self) -> Reporting:
        await self.open()
        address = f"{self.ws_url}/v1/realtime?parley=1&barge_in=server"
        self._socket = await self.stack.enter_async_context(self.http.ws_connect(address))
        self.task(self._read())
        self.task(self._report())
        return self

    async def interrupt(self) -> None:
        for said in (LOUD[:9600], QUIET[:24_000], QUIET[:24_000]):
            self._useq += 1
            event = {"type": "input_audio_buffer.append", "useq": self._useq, "audio": base64.b64encode(said).decode()}
            await self._socket.send_json(event)

    async def _say_played(self, seconds: float) -> None:
        played = {"type": "parley.played", "did": self._did, "item_id": self._item, "played_ms": round(1000 * seconds)}
        await self._socket.send_json(played)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if self._item and self.player.is_playing:
                await self._say_played(self.player.position_s)

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            match event["type"]:
                case "input_audio_buffer.speech_started":
                    self.fall_silent()
                    if self._item:
                        await self._say_played(self.heard_s)
                case "response.output_audio.delta":
                    self._item, self._did = event["item_id"], event["did"]
                    self.player.feed(len(base64.b64decode(event["delta"])) / BYTES_PER_S)


class Watch(_Base):
    """Falls silent when it is told that the user speaks, and reports nothing."""

    async def __aenter__(self) -> Watch:
        await self.open()
        query = {"conversationId": self.name, **self.query}
        stream = await self.stack.enter_async_context(self.http.get(f"{self.http_url}/realtime/stream", params=query))
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.task(self._read(stream))
        self.task(self._upload(query))
        return self

    async def interrupt(self) -> None:
        for said in (LOUD[:9600], QUIET):
            self._chunks.put_nowait(said)

    async def _upload(self, query: dict[str, str]) -> None:
        async def body() -> Any:
            while True:
                yield await self._chunks.get()

        async with self.http.post(f"{self.http_url}/realtime/upload", params=query, data=body()):
            pass

    async def _read(self, stream: aiohttp.ClientResponse) -> None:
        async for event in events(stream):
            match event.name:
                case "speech_started":
                    self.fall_silent()
                case "audio_response":
                    self.player.feed(self._clock.seconds(base64.b64decode(event.data)))


class OpusWatch(Watch):
    query: ClassVar[Mapping[str, str]] = {"audio_format": "opus"}
    clock = OfOgg


class PacedWatch(Watch):
    """Plays what it has, whoever speaks."""

    query: ClassVar[Mapping[str, str]] = {"paced": "1"}

    def fall_silent(self) -> None:
        pass

    async def wait_for_speech(self) -> bool:
        return False

    async def interrupt(self) -> None:
        self.player.expect_another()
        await super().interrupt()


class Mobile(_Base):
    """Plays what it has, come what may; a recording interrupts."""

    _socket: aiohttp.ClientWebSocketResponse

    async def __aenter__(self) -> Mobile:
        await self.open()
        address, query = f"{self.ws_url}/ws-mobile/{self.name}", {"input_format": "pcm16", **self.query}
        self._socket = await self.stack.enter_async_context(self.http.ws_connect(address, params=query))
        self.task(self._read())
        return self

    async def wait_for_speech(self) -> bool:
        return False

    async def interrupt(self) -> None:
        self.player.expect_another()
        await self._socket.send_json({"type": "audio", "audio": base64.b64encode(LOUD[:9600]).decode()})

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            match event["type"]:
                case "audio_response":
                    self.player.feed(self._clock.seconds(base64.b64decode(event["audio"])))
                case "interrupted":
                    self.fall_silent()


class AacMobile(Mobile):
    query: ClassVar[Mapping[str, str]] = {"audio_format": "aac"}
    clock = OfAdts


class EmptyingMobile(Mobile):
    """Is sent all at once, and empties its player when it is told of the interruption."""

    query: ClassVar[Mapping[str, str]] = {"paced": "0"}

    async def wait_for_speech(self) -> bool:
        return await _Base.wait_for_speech(self)

    async def interrupt(self) -> None:
        await self._socket.send_json({"type": "audio", "audio": base64.b64encode(LOUD[:9600]).decode()})


class Ios(_Base):
    """Plays an endless WAV; silence stands between two answers."""

    async def __aenter__(self) -> Ios:
        await self.open()
        self._url = f"{self.http_url}/api/sessions"
        async with self.http.post(self._url, json={"objective": "o", "fileIds": [], "sampleRate": 24_000}) as response:
            self._url += f"/{(await response.json())['id']}"
        stream = await self.stack.enter_async_context(self.http.get(f"{self._url}/stream_audio"))
        await stream.content.readexactly(44)
        self.task(self._read(stream))
        return self

    async def wait_for_speech(self) -> bool:
        return False

    async def interrupt(self) -> None:
        self.player.expect_another()
        for said in (LOUD[:9600], QUIET[:24_000], QUIET[:24_000]):
            async with self.http.post(f"{self._url}/upload_audio", data=said) as response:
                assert response.status == 200, await response.text()

    async def _read(self, stream: aiohttp.ClientResponse) -> None:
        rest = b""
        while data := await stream.content.readany():
            data = rest + data
            whole = len(data) // 2 * 2
            rest = data[whole:]
            sounding = np.count_nonzero(np.frombuffer(data[:whole], "<i2"))
            # Silence is played too: what comes behind it is heard after it. The answer has no zero in it.
            if silent := whole // 2 - sounding:
                self.player.feed(silent / 24_000, sound=False)
            if sounding:
                self.player.feed(sounding / 24_000)


LISTENERS: dict[str, Callable[[str, str], Listener]] = {
    "openai, reporting": Reporting,
    "watch": Watch,
    "watch, paced": PacedWatch,
    "watch, opus": OpusWatch,
    "mobile": Mobile,
    "mobile, not paced": EmptyingMobile,
    "mobile, aac": AacMobile,
    "ios": Ios,
}
