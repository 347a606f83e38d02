"""Clients of the Realtime protocol, over a WebSocket and over plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from cli.load.lines import Event, events
from tests.acceptance.doors.caller import SILENCE, frames
from tests.acceptance.doors.heard import Heard


def hear(heard: Heard, event: dict[str, Any]) -> None:
    match event["type"]:
        case "response.output_audio.delta":
            heard.audio(base64.b64decode(event["delta"], validate=True))
        case "response.output_audio_transcript.delta":
            heard.text(event["delta"])
        case "response.done":
            heard.answered()
        case "error":
            heard.error(event["error"]["message"])


class OpenAiCaller:
    """Over a WebSocket."""

    hears_text = True

    def __init__(self, url: str) -> None:
        self.heard = Heard()
        self._url = f"{url}/v1/realtime?model=any"
        self._stack = AsyncExitStack()
        self._socket: aiohttp.ClientWebSocketResponse

    async def __aenter__(self) -> OpenAiCaller:
        http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._socket = await self._stack.enter_async_context(http.ws_connect(self._url, max_msg_size=0))
        reading = asyncio.create_task(self._read())
        self._stack.callback(reading.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        for frame in frames(pcm + SILENCE):
            audio = base64.b64encode(frame).decode()
            await self._socket.send_json({"type": "input_audio_buffer.append", "audio": audio})

    async def end(self) -> None:
        await self._socket.close()
        self.heard.goodbye()

    async def _read(self) -> None:
        async for message in self._socket:
            hear(self.heard, json.loads(message.data))


class OpenAiHttpCaller:
    """Over Server-Sent Events and POST, each request on a connection of its own."""

    hears_text = True

    def __init__(self, url: str) -> None:
        self.heard = Heard()
        self._url = "http" + url.removeprefix("ws") + "/v1/realtime"
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self._session: asyncio.Future[str]

    async def __aenter__(self) -> OpenAiHttpCaller:
        self._session = asyncio.get_running_loop().create_future()
        connector = aiohttp.TCPConnector(force_close=True)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        response = await self._stack.enter_async_context(self._http.get(f"{self._url}/sse?model=any"))
        assert response.status == 200, await response.text()
        reading = asyncio.create_task(self._read(response))
        self._stack.callback(reading.cancel)
        await asyncio.wait_for(asyncio.shield(self._session), 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        for batch in frames(pcm + SILENCE, 24_000):
            said = [
                {"type": "input_audio_buffer.append", "audio": base64.b64encode(frame).decode()} for frame in frames(batch)
            ]
            await self._post("events", said)

    async def end(self) -> None:
        await self._post("end", None)
        await self.heard.until(lambda: self.heard.over)

    async def _post(self, what: str, body: object) -> None:
        address = f"{self._url}/{what}?session={self._session.result()}"
        async with self._http.post(address, json=body) as response:
            assert response.status == 200, await response.text()

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        async for event in events(response):
            self._hear(event)
        self.heard.goodbye()

    def _hear(self, event: Event) -> None:
        said = json.loads(event.data)
        assert said["type"] == event.name
        if said["type"] == "session.created":
            self._session.set_result(said["session"]["id"])
        hear(self.heard, said)
