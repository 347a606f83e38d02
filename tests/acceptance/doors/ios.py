"""The iOS app: a POST for each bit of speech, one endless WAV down; each request on a connection of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp

from tests.acceptance.doors.caller import SILENCE, frames, resampled
from tests.acceptance.doors.heard import Heard

HEADER_BYTES = 44
RATE = 24_000
PAUSE_S = 0.2
"""Of silence in what is played: the model has finished, or was interrupted."""


class IosCaller:
    """At either rate. The door says nothing in words: silence is all that stands between two answers."""

    hears_text = False

    def __init__(self, url: str, rate: int) -> None:
        self.heard = Heard(sample_rate=rate)
        self.sid: str
        self.uploaded = b""
        self._url, self._rate = "http" + url.removeprefix("ws") + "/api/sessions", rate
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self._rest = b""
        self._silent_bytes = 0

    async def __aenter__(self) -> IosCaller:
        connector = aiohttp.TCPConnector(force_close=True)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        wanted = {"objective": "talk", "fileIds": [], "sampleRate": self._rate}
        async with self._http.post(self._url, json=wanted) as response:
            self.sid = (await response.json())["id"]
        await self._post("start")
        stream = await self._stack.enter_async_context(self._http.get(f"{self._url}/{self.sid}/stream_audio"))
        assert stream.status == 200, await stream.text()
        reading = asyncio.create_task(self._read(stream))
        self._stack.callback(reading.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def speak(self, pcm: bytes) -> None:
        said = pcm + SILENCE
        for chunk in frames(resampled(said, RATE, self._rate) if self._rate != RATE else said, self._rate // 5):
            await self._post("upload_audio", chunk)
            self.uploaded += chunk

    async def end(self) -> None:
        await self._post("stop_stream")
        await self.heard.until(lambda: self.heard.over)

    async def _post(self, what: str, body: bytes = b"") -> None:
        async with self._http.post(f"{self._url}/{self.sid}/{what}", data=body) as response:
            assert response.status == 200, await response.text()

    async def _read(self, stream: aiohttp.ClientResponse) -> None:
        await stream.content.readexactly(HEADER_BYTES)
        while data := await stream.content.readany():
            self._hear(data)
        self.heard.goodbye()

    def _hear(self, data: bytes) -> None:
        """Silence between two words is part of the answer, silence after its last one is not."""
        data = self._rest + data
        self._rest = data[len(data) & ~1 :]
        data = data[: len(data) & ~1]
        sound = data.rstrip(b"\0")
        sound = data[: len(sound) + len(sound) % 2]
        if not self.heard.current.audio:
            sound = sound[(len(sound) - len(sound.lstrip(b"\0"))) & ~1 :]
        elif sound:
            sound = bytes(self._silent_bytes) + sound
        silent = len(data) - len(data.rstrip(b"\0"))
        self._silent_bytes = silent & ~1 if sound else self._silent_bytes + len(data)
        if sound:
            self.heard.audio(sound)
        if self.heard.current.audio and self._silent_bytes >= 2 * self._rate * PAUSE_S:
            self.heard.answered()
