"""What an answer has that lasts as long as its client listens, whatever is in it.

Its client acknowledges nothing. So a `ping` sends nothing: it marks the place, and is answered when all before it has
arrived (`milestones`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.errors import ConnectionOver, SlowClient
from gateway.transports.milestones import Milestones
from gateway.transports.outflow import Outflow, gone_is_left

KERNEL_BYTES = 16 << 10
"""SO_SNDBUF (Linux doubles it): what it holds counts as not arrived."""

CLOSE_TIMEOUT_S = 2.0
"""How long a client may take to read what was said last."""


class LastingAnswer:
    """One client's. One task writes."""

    def __init__(self, response: web.StreamResponse, *, send_timeout_s: float, grace_s: float) -> None:
        """`grace_s`: how long its session waits for a client; as long a connection is kept that no packet gets through."""
        self._response = response
        self.send_timeout_s, self._unreachable_s = send_timeout_s, max(grace_s, send_timeout_s)
        self.on_pong: Callable[[bytes], None] | None = None
        """called with the payload of each ping, when all that was written before it has arrived"""
        self._writer: AbstractStreamWriter
        self._outflow: Outflow
        self._milestones: Milestones

    async def _begin(self, request: web.Request, first: bytes) -> None:
        """Send the headers, and these bytes: they go out with the first write only. Raises HTTPException, ClientLeft."""
        with gone_is_left():
            self._outflow = Outflow(request, send_timeout_s=self.send_timeout_s, kernel_bytes=KERNEL_BYTES)
            writer = await self._response.prepare(request)
            assert writer is not None
            self._writer = writer
            self._outflow.stay_for(self._unreachable_s)
            self._milestones = Milestones(writer, self._outflow, self._arrived)
            await self._response.write(first)

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine."""
        return self._outflow.unacknowledged

    @property
    def is_unreachable(self) -> bool:
        """Whether the other machine acknowledges nothing: its network is away."""
        return self._outflow.is_unreachable

    async def ping(self, payload: bytes) -> None:
        """Have `on_pong` called with this when all that was written so far has reached the client's machine."""
        self._milestones.put(payload)

    async def depart(self, over: ConnectionOver) -> None:
        """Nothing comes this way: `close` says it all."""

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
