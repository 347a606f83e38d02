"""How Server-Sent Events move: one after the other, with ids, and never without a limit in time.

A client that reads events acknowledges nothing. So a `ping` sends nothing: it marks the place, and is answered when all
before it has arrived (`milestones`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse

from gateway.errors import ConnectionOver, SlowClient
from gateway.outbox import Frame
from gateway.transports.milestones import Milestones
from gateway.transports.outflow import Outflow, gone_is_left

KEEPALIVE_S = 12.0
"""Between comment lines, whatever else is said: clients and proxies want to see something every 15 s."""

KERNEL_BYTES = 16 << 10
"""SO_SNDBUF: what it holds counts as not arrived."""

CLOSE_TIMEOUT_S = 2.0
"""How long a client may take to read what was said last."""


class EventStream:
    """One client's event stream. One task writes."""

    def __init__(self, *, send_timeout_s: float, headers: Mapping[str, str] | None = None) -> None:
        self._response = EventSourceResponse(
            sep="\n", send_timeout=send_timeout_s, ping_interval=KEEPALIVE_S, headers=headers
        )
        self._send_timeout_s = send_timeout_s
        self.on_pong: Callable[[bytes], None] | None = None
        """called with the payload of each ping, when all that was written before it has arrived"""
        self._writer: AbstractStreamWriter
        self._outflow: Outflow
        self._milestones: Milestones

    async def open(self, request: web.Request) -> EventSourceResponse:
        """Send the headers; what this returns is the handler's response. Raises HTTPException, ClientLeft."""
        with gone_is_left():
            self._outflow = Outflow(request, send_timeout_s=self._send_timeout_s, kernel_bytes=KERNEL_BYTES)
            writer = await self._response.prepare(request)
            assert writer is not None
            self._writer = writer
            self._milestones = Milestones(writer, self._outflow, self._arrived)
            await self._response.write(b": ok\n\n")  # the headers go out with the first write only
        return self._response

    async def write(self, frame: Frame) -> None:
        """One event: the frame's name (its kind, where it has none) and data, a single line; the entry is its id.

        Raises SlowClient, ClientLeft.
        """
        did = None if frame.entry is None else frame.prefix + str(frame.entry)
        try:
            with gone_is_left():
                await self._response.send(frame.data.decode(), id=did, event=frame.event or frame.kind)
        except TimeoutError:
            raise SlowClient from None
        await self._outflow.settle(self._writer)

    async def ping(self, payload: bytes) -> None:
        """Have `on_pong` called with this when all that was written so far has reached the client's machine."""
        self._milestones.put(payload)

    async def close(self, over: ConnectionOver) -> None:
        """End the stream. What was said last is waited for a little; a client that does not read is cut off."""
        self._milestones.close()
        self._response.stop_streaming()
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
