"""How an endless WAV moves: a header that knows no length, then PCM16 mono in chunks, until the session is over.

Whoever writes keeps to the pace (`gateway.player`). A client that reads a WAV says nothing back: see `milestones`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from gateway.errors import ConnectionOver, SlowClient
from gateway.outbox import Frame
from gateway.transports.milestones import Milestones
from gateway.transports.outflow import Outflow, gone_is_left
from gateway.wav import endless_header

KERNEL_BYTES = 16 << 10
"""SO_SNDBUF (Linux doubles it): what it holds counts as not arrived."""

CLOSE_TIMEOUT_S = 2.0
"""How long a client may take to read what was said last."""


class EndlessWav:
    """One client's WAV. One task writes."""

    def __init__(self, sample_rate: int, *, send_timeout_s: float) -> None:
        """`sample_rate` in Hertz."""
        self.sample_rate = sample_rate
        self.on_pong: Callable[[bytes], None] | None = None
        """called with the payload of each ping, when all that was written before it has arrived"""
        self.send_timeout_s = send_timeout_s
        self._response = web.StreamResponse(
            headers={"Content-Type": "audio/wav", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        self._writer: AbstractStreamWriter
        self._outflow: Outflow
        self._milestones: Milestones

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Send the headers, HTTP's and WAV's; what this returns is the handler's response. Raises ClientLeft."""
        if request.version >= HttpVersion11:
            self._response.enable_chunked_encoding()
        with gone_is_left():
            self._outflow = Outflow(request, send_timeout_s=self.send_timeout_s, kernel_bytes=KERNEL_BYTES)
            writer = await self._response.prepare(request)
            assert writer is not None
            self._writer = writer
            self._milestones = Milestones(writer, self._outflow, self._arrived)
            await self._response.write(endless_header(self.sample_rate))
        return self._response

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine."""
        return self._outflow.unacknowledged

    async def write(self, frame: Frame) -> None:
        """More PCM. Raises SlowClient, ClientLeft."""
        with gone_is_left():
            await self._response.write(frame.data)
        await self._outflow.settle(self._writer)

    async def ping(self, payload: bytes) -> None:
        """Have `on_pong` called with this when all that was written so far has reached the client's machine."""
        self._milestones.put(payload)

    async def close(self, over: ConnectionOver) -> None:
        """End the stream. What was said last is waited for a little; a client that does not read is cut off."""
        self._milestones.close()
        if isinstance(over, SlowClient):
            self._outflow.abort()
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._response.write_eof()
        except (TimeoutError, ConnectionError):
            self._outflow.abort()

    def _arrived(self, payload: bytes) -> None:
        if self.on_pong is not None:
            self.on_pong(payload)
