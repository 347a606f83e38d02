"""The watch: events down, one endless upload up; and the same app on a phone, over a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from cli.load.lines import events
from tests.acceptance.doors.caller import SILENCE, frames
from tests.acceptance.doors.heard import Heard

CHUNK_BYTES = 4_095
"""Odd: a chunk ends in the middle of a sample."""


class WatchCaller:
    hears_text = True

    def __init__(self, url: str, conversation: str) -> None:
        self.heard = Heard()
        self._url = "http" + url.removeprefix("ws") + "/realtime"
        self._query = {"conversationId": conversation}
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self._upload: asyncio.Task[None]

    async def __aenter__(self) -> WatchCaller:
        connector = aiohttp.TCPConnector(force_close=True)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        response = await self._stack.enter_async_context(self._http.get(f"{self._url}/stream", params=self._query))
        assert response.status == 200, await response.text()
        reading = asyncio.create_task(self._read(response))
        self._stack.callback(reading.cancel)
        self._upload = asyncio.create_task(self._send())
        self._stack.callback(self._upload.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        for chunk in frames(pcm + SILENCE, CHUNK_BYTES):
            self._chunks.put_nowait(chunk)

    async def end(self) -> None:
        self._chunks.put_nowait(None)
        await self._upload
        async with self._http.post(f"{self._url}/end", params=self._query) as response:
            assert (response.status, await response.json()) == (200, {"success": True})
        await self.heard.until(lambda: self.heard.over)

    async def _send(self) -> None:
        async def body() -> AsyncIterator[bytes]:
            while (chunk := await self._chunks.get()) is not None:
                yield chunk

        async with self._http.post(f"{self._url}/upload", params=self._query, data=body()) as response:
            assert (response.status, await response.text()) == (200, "OK")

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        async for event in events(response):
            match event.name:
                case "audio_response":
                    self.heard.audio(base64.b64decode(event.data, validate=True))
                case "transcript_delta":
                    self.heard.text(event.data if self.heard.current.text is None else " " + event.data.strip())
                case "response_complete":
                    self.heard.answered()
                case "conversation_ended":
                    self.heard.goodbye()
                case "error":
                    self.heard.error(event.data)


class WatchPhoneCaller:
    hears_text = True

    def __init__(self, url: str, conversation: str) -> None:
        self.heard = Heard()
        self._url, self._conversation = f"{url}/realtime", conversation
        self._stack = AsyncExitStack()
        self._socket: aiohttp.ClientWebSocketResponse

    async def __aenter__(self) -> WatchPhoneCaller:
        http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._socket = await self._stack.enter_async_context(http.ws_connect(self._url, max_msg_size=0))
        assert (await self._socket.receive_json())["type"] == "session.created"
        start = {"type": "start_conversation", "conversationId": self._conversation, "conversationHistory": []}
        await self._socket.send_json(start)
        reading = asyncio.create_task(self._read())
        self._stack.callback(reading.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        for number, frame in enumerate(frames(pcm + SILENCE)):
            if number % 2:
                await self._socket.send_bytes(frame)
            else:
                await self._socket.send_json({"type": "audio_chunk", "data": base64.b64encode(frame).decode()})

    async def end(self) -> None:
        await self._socket.send_json({"type": "end_conversation"})
        await self.heard.until(lambda: self.heard.over)

    async def _read(self) -> None:
        async for message in self._socket:
            said: dict[str, Any] = json.loads(message.data)
            assert said["type"] == "error" or said["conversationId"] == self._conversation
            match said["type"]:
                case "audio_response":
                    self.heard.audio(base64.b64decode(said["data"], validate=True))
                case "transcript_delta":
                    self.heard.text(said["text"])
                case "response_complete":
                    self.heard.answered()
                case "conversation_ended":
                    self.heard.goodbye()
                case "error":
                    self.heard.error(said["message"])
