"""The iOS app: a POST for each bit of speech, one after the other, and one endless WAV down."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import aiohttp

from cli.load.coding import TALK
from cli.load.doors.door import DIAL_LIMIT_S, REQUEST_LIMIT_S, HttpDoor

HEADER_BYTES = 44
QUEUE_S = 2.0
"""What the app keeps while a POST is not answered; what does not fit is dropped, and was never sent."""


class Ios(HttpDoor):
    speaks_silence = True
    rate: ClassVar[int] = 24_000
    """hertz, both ways"""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._id: str | None = None
        self._chunks: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self._queued = 0

    async def dial(self) -> None:
        async with asyncio.timeout(DIAL_LIMIT_S):
            if self._id is None:
                wanted = {"objective": "load", "fileIds": [], "sampleRate": self.rate}
                async with self._http.post(f"{self.http_url}/api/sessions", json=wanted) as made:
                    if made.status != 200:
                        raise ConnectionError(f"{made.status} {await made.text()}")
                    self._id = (await made.json())["id"]
            self._response = await self._http.get(f"{self._session}/stream_audio")
            if self._response.status != 200:
                raise ConnectionError(f"{self._response.status} {await self._response.text()}")
            await self._response.content.readexactly(HEADER_BYTES)
        self._upload_from_now_on()

    @property
    def _session(self) -> str:
        return f"{self.http_url}/api/sessions/{self._id}"

    async def listen(self) -> None:
        assert self._response is not None
        while data := await self._response.content.readany():
            self.hear(self.played(data))

    def recorded(self, pcm: bytes) -> bytes:
        """At the rate at which this app records, of 24 kHz."""
        return pcm

    def played(self, pcm: bytes) -> bytes:
        """24 kHz of what this app plays."""
        return pcm

    async def leave(self) -> None:
        async with asyncio.timeout(REQUEST_LIMIT_S), self._http.post(f"{self._session}/stop_stream"):
            pass

    async def say(self, first: int, count: int) -> None:
        self._put(first, count)

    async def be_silent(self, frames: int) -> None:
        self._put(-1, frames)

    def _put(self, first: int, count: int) -> None:
        if self._queued * TALK.frame_s > QUEUE_S:
            return  # never sent
        self._queued += count
        self._chunks.put_nowait((first, count))

    async def upload(self) -> None:
        while True:
            first, count = await self._chunks.get()
            self._queued -= count
            pcm = bytes(TALK.frame_bytes * count)
            if first >= 0:
                pcm = self.speech(first, count)
                self.ledger.say(first, count, self.now())
            try:
                async with (
                    asyncio.timeout(REQUEST_LIMIT_S),
                    self._http.post(f"{self._session}/upload_audio", data=self.recorded(pcm)) as response,
                ):
                    if response.status != 200:
                        self.trouble(f"upload: {response.status} {(await response.text())[:200]}")
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                self.trouble(f"upload: {type(error).__name__}")
                if first >= 0:
                    self.ledger.given_up.update(range(first, first + count))
