"""The doors that a call may be sent through again: each says the user's channel in its time, and gathers what comes back."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import aiohttp
import msgspec
import numpy as np

from cli.errors import ReplayError
from cli.load.lines import events
from cli.replay.call import RATE, Said, Samples, loud

PIECE = RATE // 25
"""Samples that are sent at a time: 40 ms."""


class Door(Protocol):
    """Of one call. `say` to the end, then `finish`; `said` is what has come back."""

    said: Said

    async def say(self, user: Samples, speed: float) -> None: ...

    async def finish(self, quiet_s: float) -> None:
        """Wait until nothing more has come for so long."""


class _Gathering:
    """Answers by their item, in the order in which they begin."""

    def __init__(self) -> None:
        self.said = Said()
        self._sounds: dict[str, bytearray] = {}
        self._news = asyncio.Event()

    def hear(self, item: str, audio: bytes) -> None:
        self._sounds.setdefault(item, bytearray()).extend(audio)
        self.came()

    def came(self) -> None:
        self._news.set()

    async def finish(self, quiet_s: float) -> None:
        with suppress(TimeoutError):
            while True:
                self._news.clear()
                async with asyncio.timeout(quiet_s):
                    await self._news.wait()
        self.said.answers = [np.frombuffer(bytes(sound[: len(sound) // 2 * 2]), "<i2") for sound in self._sounds.values()]


async def _in_time(user: Samples, speed: float) -> AsyncIterator[bytes]:
    """Piece by piece, when each would have been said."""
    now = asyncio.get_running_loop().time
    began = now()
    for at in range(0, len(user), PIECE):
        piece = user[at : at + PIECE]
        await asyncio.sleep(max(0.0, began + (at + len(piece)) / RATE / speed - now()))
        yield piece.astype("<i2").tobytes()


class _OpenAI(_Gathering):
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self._socket = socket

    async def say(self, user: Samples, speed: float) -> None:
        async for piece in _in_time(user, speed):
            event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
            await self._socket.send_json(event)

    async def read(self) -> None:
        async for message in self._socket:
            event = msgspec.json.decode(message.data)
            match event["type"]:
                case "response.output_audio.delta":
                    self.hear(event["item_id"], base64.b64decode(event["delta"]))
                case "conversation.item.input_audio_transcription.completed":
                    self.said.user_words.append(event["transcript"])
                case "response.output_audio_transcript.done":
                    self.said.model_words.append(event["transcript"])
                case _:
                    continue
            self.came()


class _Mobile(_Gathering):
    """Whole recordings: each stretch of speech is one, sent when it has ended."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self._socket = socket
        self._turn = 0

    async def say(self, user: Samples, speed: float) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        for begin, end in loud(user):
            await asyncio.sleep(max(0.0, began + end / RATE / speed - now()))
            audio = base64.b64encode(user[begin:end].astype("<i2").tobytes()).decode()
            await self._socket.send_json({"type": "audio", "audio": audio})
        await asyncio.sleep(max(0.0, began + len(user) / RATE / speed - now()))

    async def read(self) -> None:
        async for message in self._socket:
            event = msgspec.json.decode(message.data)
            match event["type"]:
                case "audio_response":
                    self.hear(str(self._turn), base64.b64decode(event["audio"]))
                case "text_response":  # once, behind the sound
                    self._turn += 1
                    self.said.model_words.append(event["text"])
                    self.came()
                case "error":
                    raise ReplayError(f"The gateway said: {event['error']}")
                case _:
                    pass


class _Watch(_Gathering):
    def __init__(self, http: aiohttp.ClientSession, url: str, query: dict[str, str]) -> None:
        super().__init__()
        self._http, self._url, self._query = http, url, query
        self._turn = 0

    async def say(self, user: Samples, speed: float) -> None:
        address = f"{self._url}/realtime/upload"
        async with self._http.post(address, params=self._query, data=_in_time(user, speed)) as response:
            if response.status != 200:
                raise ReplayError(f"The watch door took no speech: HTTP {response.status}.")

    async def read(self, stream: aiohttp.ClientResponse) -> None:
        async for event in events(stream):
            match event.name:
                case "audio_response":
                    self.hear(str(self._turn), base64.b64decode(event.data))
                case "transcript_complete":
                    self.said.model_words.append(event.data)
                case "response_complete":
                    self._turn += 1
                case "user_transcript":
                    self.said.user_words.append(event.data)
                case _:
                    continue
            self.came()


@asynccontextmanager
async def open_door(name: str, url: str, token: str | None) -> AsyncIterator[Door]:
    """A new call through the door of this name. Raises ReplayError."""
    address = url if "://" in url else f"ws://{url}"
    ws = address.rstrip("/").replace("http://", "ws://", 1).replace("https://", "wss://", 1)
    user = f"replay-{secrets.token_hex(6)}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None, connect=5)
    reading: asyncio.Task[None] | None = None
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        try:
            door: Any
            if name == "watch":
                query, base = {"conversationId": user}, "http" + ws.removeprefix("ws")
                door = _Watch(http, base, query)
                stream = await http.get(f"{base}/realtime/stream", params=query, raise_for_status=True)
                reading = asyncio.create_task(door.read(stream))
            else:
                path = "/v1/realtime?model=parley" if name == "openai" else f"/ws-mobile/{user}?input_format=pcm16&paced=0"
                socket = await http.ws_connect(ws + path, max_msg_size=0)
                door = (_OpenAI if name == "openai" else _Mobile)(socket)
                reading = asyncio.create_task(door.read())
            yield door
            if reading.done():
                reading.result()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ReplayError(
                f"The {name} door at {ws} could not be spoken to: {str(error) or type(error).__name__}."
            ) from None
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.wait([reading])
