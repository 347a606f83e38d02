"""The watch: events down, one endless upload up, each at the gateway whose turn it is; and the same app on a phone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pybase64

from cli.load.coding import TALK
from cli.load.doors.door import DIAL_LIMIT_S, REQUEST_LIMIT_S, HttpDoor, Over, SocketDoor
from cli.load.lines import events


class Watch(HttpDoor):
    """Falls back on what the gateway knows when it dials again."""

    speaks_silence = True
    one_each = True
    names_its_place = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._query = {"conversationId": f"load-{self.ledger.session}"}
        self._last_id: str | None = None
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
        self._is_up = asyncio.Event()

    async def dial(self) -> None:
        headers = {"Last-Event-ID": self._last_id} if self.names_its_place and self._last_id else {}
        async with asyncio.timeout(DIAL_LIMIT_S):
            self._response = await self._http.get(f"{self.http_url}/realtime/stream", params=self._query, headers=headers)
            if self._response.status == 204:
                raise Over("204")
            if self._response.status != 200:
                raise ConnectionError(f"{self._response.status} {await self._response.text()}")
            self._events = events(self._response)
            async for event in self._events:
                if event.name != "conversation_started":
                    raise ConnectionError(f"no greeting, but {event}")
                break
            else:
                raise ConnectionError("the stream ended before its first event")
        self._upload_from_now_on()

    async def listen(self) -> None:
        async for event in self._events:
            self._last_id = event.id or self._last_id
            match event.name:
                case "audio_response":
                    self.hear(pybase64.b64decode(event.data))
                case "conversation_ended":
                    raise Over("conversation_ended")
                case "resync":
                    self.announce(f"resync {event.data}")
                case "error":
                    self.trouble(event.data)
                case _:
                    pass

    async def leave(self) -> None:
        async with asyncio.timeout(REQUEST_LIMIT_S):
            async with self._http.post(f"{self.http_url}/realtime/end", params=self._query):
                pass

    async def say(self, first: int, count: int) -> None:
        await self._put(self.speech(first, count))
        self.ledger.say(first, count, self.now())

    async def be_silent(self, frames: int) -> None:
        await self._put(bytes(TALK.frame_bytes * frames))

    async def _put(self, pcm: bytes) -> None:
        if not self._is_up.is_set():
            raise ConnectionError("no upload is under way")
        await self._chunks.put(pcm)

    async def upload(self) -> None:
        while True:
            try:
                async with self._http.post(
                    f"{self.http_url}/realtime/upload", params=self._query, data=self._body()
                ) as response:
                    if response.status != 200:
                        self.trouble(f"upload: {response.status} {(await response.text())[:200]}")
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                pass
            self._is_up.clear()
            while not self._chunks.empty():
                self._chunks.get_nowait()
            await asyncio.sleep(0.2)

    async def _body(self) -> AsyncIterator[bytes]:
        self._is_up.set()
        while True:
            yield await self._chunks.get()


class WatchById(Watch):
    """As an EventSource does: it says where it was."""

    names_its_place = True


class Phone(SocketDoor):
    speaks_silence = True

    @property
    def url(self) -> str:
        return f"{self.ws_url}/realtime"

    async def greet(self) -> None:
        await self._socket.receive_json()
        start = {"type": "start_conversation", "conversationId": f"load-{self.ledger.session}", "conversationHistory": []}
        await self._socket.send_json(start)

    async def say(self, first: int, count: int) -> None:
        self.ledger.say(first, count, self.now())
        await self._send(self.speech(first, count))

    async def be_silent(self, frames: int) -> None:
        await self._send(bytes(TALK.frame_bytes * frames))

    async def _send(self, pcm: bytes) -> None:
        chunk = {"type": "audio_chunk", "data": pybase64.b64encode_as_string(pcm)}
        await self._socket.send_str(msgspec.json.encode(chunk).decode())

    async def receive(self, text: str) -> None:
        said = msgspec.json.decode(text)
        match said["type"]:
            case "audio_response":
                self.hear(pybase64.b64decode(said["data"]))
            case "conversation_ended":
                raise Over("conversation_ended")
            case "resync":
                self.announce("resync")
            case "error":
                self.trouble(said["message"])
            case _:
                pass
