"""The React Native app: a whole recording at a time."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import numpy as np

from tests.acceptance.doors.heard import Heard
from tests.media.make_media import encode


class MobileCaller:
    hears_text = True

    def __init__(self, url: str, name: str, *, m4a: bool) -> None:
        self.heard = Heard()
        self._m4a = m4a
        self._url = f"{url}/ws-mobile/{name}" + ("" if m4a else "?input_format=pcm16")
        self._stack = AsyncExitStack()
        self._socket: aiohttp.ClientWebSocketResponse

    async def __aenter__(self) -> MobileCaller:
        http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._socket = await self._stack.enter_async_context(http.ws_connect(self._url, max_msg_size=0))
        reading = asyncio.create_task(self._read())
        self._stack.callback(reading.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        recording = encode(np.frombuffer(pcm, "<i2"), rate=24_000) if self._m4a else pcm
        await self._socket.send_json({"type": "audio", "audio": base64.b64encode(recording).decode()})

    async def end(self) -> None:
        """There is no goodbye: the app hangs up."""

    async def _read(self) -> None:
        async for message in self._socket:
            said: dict[str, Any] = json.loads(message.data)
            match said["type"]:
                case "audio_response":
                    self.heard.audio(base64.b64decode(said["audio"], validate=True))
                case "text_response":
                    self.heard.text(said["text"])
                    self.heard.answered()
                case "error":
                    self.heard.error(said["error"])
