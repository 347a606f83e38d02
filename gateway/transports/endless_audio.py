"""How an answer of audio moves that has no end: its head, then chunks, until the session is over.

Whoever writes keeps to the pace (`gateway.player`).
"""

from __future__ import annotations

from aiohttp import HttpVersion11, web

from gateway.outbox import Frame
from gateway.transports.lasting import LastingAnswer
from gateway.transports.outflow import gone_is_left


class EndlessAudio(LastingAnswer):
    """One client's. One task writes."""

    def __init__(self, content_type: str, head: bytes = b"", *, send_timeout_s: float, grace_s: float) -> None:
        """`head`: what comes before all audio."""
        self._head = head
        headers = {"Content-Type": content_type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(web.StreamResponse(headers=headers), send_timeout_s=send_timeout_s, grace_s=grace_s)

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Send the headers, and the head; what this returns is the handler's response. Raises ClientLeft."""
        if request.version >= HttpVersion11:
            self._response.enable_chunked_encoding()
        await self._begin(request, self._head)
        return self._response

    @property
    def written(self) -> int:
        """Bytes that were written, with all that HTTP puts around them."""
        return self._writer.output_size

    async def write(self, frame: Frame) -> None:
        """More audio. Raises SlowClient, ClientLeft."""
        with gone_is_left():
            await self._response.write(frame.data)
        await self._outflow.settle(self._writer)
