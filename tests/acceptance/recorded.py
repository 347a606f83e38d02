"""Clients of recorded calls: each has a microphone that never stops, and a player, and knows by its own clock what was said
and heard when."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

from cli.load.lines import events

RATE = 24_000
PIECE = RATE // 25
"""Samples: 40 ms."""
REPORT_S = 0.1

Sound = NDArray[np.int16]


@dataclass
class Tape:
    """What was really said, or heard: by the client's clock, in seconds since 1970."""

    stretches: list[tuple[float, Sound]] = field(default_factory=list)

    def add(self, begins: float, sound: Sound) -> None:
        self.stretches.append((begins, sound))

    def cut(self, moment: float) -> None:
        """Nothing is heard from here on."""
        kept = [(begin, sound[: max(0, round((moment - begin) * RATE))]) for begin, sound in self.stretches]
        self.stretches = [(begin, sound) for begin, sound in kept if len(sound)]

    def track(self, origin: float, samples: int) -> Sound:
        """As a channel of a recording that begins then."""
        track = np.zeros(samples, np.int16)
        for begin, sound in self.stretches:
            at = round((begin - origin) * RATE)
            low, high = max(0, at), min(samples, at + len(sound))
            if low < high:
                track[low:high] = sound[low - at : high - at]
        return track


class Client(ABC):
    """`say` something loud, `drop` the connection and dial again, `leave`."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.http_url, self.name = url, "http" + url.removeprefix("ws"), name
        self.sid = ""
        self.asks = "&record=1"
        self.mic, self.ear = Tape(), Tape()
        self.heard = asyncio.Event()
        self._until = 0.0
        self._loud = 0
        self.late_ms = 0.0
        """by how much this process was late itself, at worst: so wrong may its own clock of what it plays be"""
        self._random = np.random.default_rng(9)
        self.stack = AsyncExitStack()
        self.http: aiohttp.ClientSession
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Client:
        self.http = await self.stack.enter_async_context(aiohttp.ClientSession())
        await self.dial()
        self._tasks = [asyncio.create_task(self._listen_to_microphone())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.hang_up()
        await self.stack.aclose()

    @abstractmethod
    async def dial(self) -> None: ...

    @abstractmethod
    async def hang_up(self) -> None: ...

    @abstractmethod
    async def send(self, piece: bytes) -> None: ...

    async def reads_what_is_there(self) -> None:
        """What has come to this machine is heard. Else a process that was held up loses it with its line, which nobody can
        know of, and so much more of it as the model speaks faster than it is heard."""
        for _ in range(10):
            await asyncio.sleep(0)

    def say(self, seconds: float) -> None:
        self._loud = round(seconds * RATE) // PIECE
        self.heard.clear()

    async def hears(self, seconds: float) -> None:
        """Wait for an answer, and until so much of it was heard."""
        await asyncio.wait_for(self.heard.wait(), 20)
        await asyncio.sleep(seconds)

    async def has_said(self) -> None:
        """It is silent again, and all of it has arrived."""
        async with asyncio.timeout(20):
            while self._loud >= 0:  # noqa: ASYNC110 - the microphone's clock
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.4)

    async def falls_silent(self) -> None:
        """All that was sent is heard."""
        while time.time() < self._until + 0.3:  # noqa: ASYNC110 - the player's clock
            await asyncio.sleep(0.05)

    async def _listen_to_microphone(self) -> None:
        begins = time.time()
        while True:
            await asyncio.sleep(max(0.0, begins + PIECE / RATE - time.time()))
            self.late_ms = max(self.late_ms, 1000 * (time.time() - begins) - 40)
            loudness = 6000 if self._loud > 0 else 4
            self._loud -= 1
            piece = (self._random.standard_normal(PIECE) * loudness).astype(np.int16)
            self.mic.add(begins, piece)
            begins += PIECE / RATE
            await self.send(piece.tobytes())

    def feed(self, audio: bytes) -> None:
        begins = max(time.time(), self._until)
        self.ear.add(begins, np.frombuffer(audio, "<i2").astype(np.int16))
        self._until = begins + len(audio) / 2 / RATE
        self.heard.set()

    def flush(self) -> None:
        self.ear.cut(time.time())
        self._until = time.time()


def break_off(socket: aiohttp.ClientWebSocketResponse) -> None:
    """As a network does: without a word."""
    if (connection := socket._response.connection) is not None and connection.transport is not None:
        connection.transport.abort()
    socket._response.close()


class OverSocket(Client):
    """One WebSocket at a time."""

    _socket: aiohttp.ClientWebSocketResponse | None = None
    _ours: Sequence[asyncio.Task[None]] = ()

    async def hang_up(self) -> None:
        await self.reads_what_is_there()
        socket, self._socket = self._socket, None
        for task in self._ours:
            task.cancel()
        await asyncio.gather(*self._ours, return_exceptions=True)
        if socket is not None:
            break_off(socket)


class Numbering(OverSocket):
    """At the openai door, with our extension: numbers, keeps, and says what it has played."""

    extension = "parley=1&barge_in=server"

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._said: list[str] = []
        self._did = self._item = ""
        self._began: dict[str, float] = {}
        self._items: list[tuple[str, str, float, float]] = []
        """did, item, when its sound begins and ends"""
        self._positions: dict[str, float] = {}

    async def dial(self) -> None:
        address = f"{self.url}/v1/realtime?{self.extension}{self.asks}"
        if self.sid:
            address += f"&session={self.sid}&after={self._did}"
        self._socket = await self.http.ws_connect(address)
        self._ours = [asyncio.create_task(self._read(self._socket)), asyncio.create_task(self._report(self._socket))]

    async def send(self, piece: bytes) -> None:
        event = {"type": "input_audio_buffer.append", "useq": len(self._said) + 1, "audio": base64.b64encode(piece).decode()}
        self._said.append(json.dumps(event))
        if self._socket is not None:
            with suppress(ConnectionError):
                await self._socket.send_str(self._said[-1])

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            event = json.loads(message.data)
            match event["type"]:
                case "session.created" if not self.sid:
                    self.sid = event["session"]["id"].removeprefix("sess_")
                case "parley.resumed":
                    for said in self._said[event["next_useq"] - 1 :]:
                        await socket.send_str(said)
                case "input_audio_buffer.speech_started":
                    await self._fall_silent(socket)
                case "response.output_audio.delta":
                    audio = base64.b64decode(event["delta"])
                    self.feed(audio)
                    item, seconds = event["item_id"], len(audio) / 2 / RATE
                    position = self._positions.setdefault(item, 0.0)
                    self._items.append((event["did"], item, self._until - seconds - position, self._until))
                    self._positions[item] = position + seconds
                case _:
                    pass
            self._did = event.get("did", self._did)

    def _played(self, now: float) -> dict[str, Any] | None:
        for did, item, began, ends in reversed(self._items):
            if ends - 0.1 <= now:
                ms = round(1000 * (min(now, ends) - began))
                return {"type": "parley.played", "did": did, "item_id": item, "played_ms": ms}
        return None

    async def _fall_silent(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        played = self._played(time.time())
        self.flush()
        self._items = []
        if played is not None:
            await socket.send_json(played)

    async def _report(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            now = time.time()
            if now < self._until and (played := self._played(now)) is not None:
                await socket.send_json(played)


class Plain(Numbering):
    """As an official SDK has it: it reports nothing, and truncates by itself."""

    extension = "model=m"

    async def send(self, piece: bytes) -> None:
        if self._socket is not None:
            with suppress(ConnectionError):
                event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
                await self._socket.send_json(event)

    async def dial(self) -> None:
        address = f"{self.url}/v1/realtime?{self.extension}{self.asks}" + (f"&session={self.sid}" if self.sid else "")
        self._socket = await self.http.ws_connect(address)
        self._ours = [asyncio.create_task(self._read(self._socket))]

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        item, began = "", 0.0
        async for message in socket:
            event = json.loads(message.data)
            match event["type"]:
                case "session.created" if not self.sid:
                    self.sid = event["session"]["id"].removeprefix("sess_")
                case "input_audio_buffer.speech_started":
                    if item and time.time() < self._until:
                        ms = round(1000 * (time.time() - began))
                        cut = {"item_id": item, "content_index": 0, "audio_end_ms": ms}
                        await socket.send_json({"type": "conversation.item.truncate", **cut})
                    self.flush()
                    item = "void"
                case "response.output_audio.delta":
                    audio = base64.b64decode(event["delta"])
                    if event["item_id"] != item:
                        item, began = event["item_id"], max(time.time(), self._until)
                    self.feed(audio)
                case _:
                    pass


class Watch(Client):
    """Server-Sent Events down, one endless POST up; reports nothing."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._id = ""
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._stream: aiohttp.ClientResponse | None = None
        self._ours: list[asyncio.Task[None]] = []

    @property
    def _query(self) -> dict[str, str]:
        return {"conversationId": self.name, "record": "1"}

    async def dial(self) -> None:
        headers = {"Last-Event-ID": self._id} if self._id else {}
        address = f"{self.http_url}/realtime/stream"
        self._stream = await self.http.get(address, params=self._query, headers=headers)
        self._ours = [asyncio.create_task(self._read(self._stream)), asyncio.create_task(self._upload())]

    async def hang_up(self) -> None:
        await self.reads_what_is_there()
        for task in self._ours:
            task.cancel()
        await asyncio.gather(*self._ours, return_exceptions=True)
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    async def send(self, piece: bytes) -> None:
        if self._stream is not None:
            self._pieces.put_nowait(piece)

    async def _upload(self) -> None:
        async def body() -> Any:
            while True:
                yield await self._pieces.get()

        async with self.http.post(f"{self.http_url}/realtime/upload", params=self._query, data=body()):
            pass

    async def _read(self, stream: aiohttp.ClientResponse) -> None:
        async for event in events(stream):
            if event.id:
                self._id = event.id
                self.sid = self.sid or event.id.partition("/")[0]
            match event.name:
                case "speech_started":
                    self.flush()
                case "audio_response":
                    self.feed(base64.b64decode(event.data))
                case _:
                    pass


class Mobile(OverSocket):
    """Whole recordings up, paced answers down; plays what it has, come what may."""

    _recorded = b""

    async def dial(self) -> None:
        self._socket = await self.http.ws_connect(f"{self.url}/ws-mobile/{self.name}?input_format=pcm16&record=1")
        self._ours = [asyncio.create_task(self._read(self._socket))]

    async def send(self, piece: bytes) -> None:
        if self._loud >= 0:
            self._recorded += piece
        if self._loud == 0 and self._socket is not None:
            recorded, self._recorded = self._recorded, b""
            await self._socket.send_json({"type": "audio", "audio": base64.b64encode(recorded).decode()})

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            event = json.loads(message.data)
            if event["type"] == "audio_response":
                self.feed(base64.b64decode(event["audio"]))


class Ios(Client):
    """A POST for each piece of speech, and one endless WAV, whose silence is played, too. Its body agrees."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, "anonymous")
        self._id = ""
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._ours: list[asyncio.Task[None]] = []
        self._silent_from = 0.0

    async def dial(self) -> None:
        self._at = f"{self.http_url}/api/sessions"
        if not self._id:
            wanted = {"objective": "talk", "fileIds": [], "sampleRate": RATE, "record": True}
            async with self.http.post(self._at, json=wanted) as created:
                self._id = (await created.json())["id"]
        self._ours = [asyncio.create_task(self._listen()), asyncio.create_task(self._upload())]

    async def hang_up(self) -> None:
        await self.reads_what_is_there()
        for task in self._ours:
            task.cancel()
        await asyncio.gather(*self._ours, return_exceptions=True)
        self._ours = []
        self._until = min(self._until, time.time())

    async def falls_silent(self) -> None:
        while time.time() < self._silent_from + 0.3:  # noqa: ASYNC110 - the player's clock
            await asyncio.sleep(0.05)

    async def send(self, piece: bytes) -> None:
        if self._ours:
            self._pieces.put_nowait(piece)

    async def _upload(self) -> None:
        while True:
            async with self.http.post(f"{self._at}/{self._id}/upload_audio", data=await self._pieces.get()) as stored:
                assert stored.status == 200, await stored.text()

    async def _listen(self) -> None:
        async with self.http.get(f"{self._at}/{self._id}/stream_audio") as stream:
            await stream.content.readexactly(44)
            half = b""
            async for some in stream.content.iter_any():
                data = half + some
                half = data[len(data) // 2 * 2 :]
                self._play(data[: len(data) // 2 * 2])

    def _play(self, audio: bytes) -> None:
        begins = max(time.time(), self._until)
        samples = np.frombuffer(audio, "<i2").astype(np.int16)
        self.ear.add(begins, samples)
        self._until = begins + len(samples) / RATE
        if samples.any():
            self.heard.set()
            self._silent_from = self._until


CLIENTS: dict[str, Callable[[str, str], Client]] = {
    "openai, reporting": Numbering,
    "openai, as the SDKs": Plain,
    "watch": Watch,
    "mobile": Mobile,
    "ios": Ios,
}


@dataclass(frozen=True)
class Lags:
    """Of a recording's channel against the client's tape, window by window: ms, and when."""

    windows: tuple[tuple[float, float], ...]
    missing: tuple[float, ...]
    """windows of the tape that are not found in the recording"""


def lags(channel: Sound, tape: Sound, *, window_s: float = 0.3, within_s: float = 0.5) -> Lags:
    """Cross-correlation of each window of the tape that has sound with the recording around it."""
    size, reach = round(window_s * RATE), round(within_s * RATE)
    found: list[tuple[float, float]] = []
    missing: list[float] = []
    for at in range(0, len(tape) - size, size):
        piece = tape[at : at + size].astype(np.float64)
        if np.count_nonzero(np.abs(piece) > 500) < size // 2:
            continue
        low = max(0, at - reach)
        around = channel[low : at + size + reach].astype(np.float64)
        length = 1 << (len(around) + size).bit_length()
        product = np.fft.irfft(np.fft.rfft(around, length) * np.conj(np.fft.rfft(piece, length)), length)
        best = int(np.argmax(product[: max(1, len(around) - size)]))
        there = around[best : best + size]
        power = float(np.sqrt((piece @ piece) * (there @ there)))
        if power == 0 or product[best] / power < 0.5:
            missing.append(at / RATE)
        else:
            found.append(((low + best - at) * 1000 / RATE, at / RATE))
    return Lags(tuple(found), tuple(missing))
