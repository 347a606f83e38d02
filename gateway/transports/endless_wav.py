"""How an endless WAV moves: a header that knows no length, then PCM16 mono in chunks, until the session is over.

Whoever writes keeps to the pace (`gateway.player`).
"""

from __future__ import annotations

from aiohttp import HttpVersion11, web

from gateway.outbox import Frame
from gateway.transports.lasting import LastingAnswer
from gateway.transports.outflow import gone_is_left
from gateway.wav import endless_header


class EndlessWav(LastingAnswer):
    """One client's WAV. One task writes."""

    def __init__(self, sample_rate: int, *, send_timeout_s: float) -> None:
        """`sample_rate` in Hertz."""
        self.sample_rate = sample_rate
        headers = {"Content-Type": "audio/wav", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(web.StreamResponse(headers=headers), send_timeout_s=send_timeout_s)

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Send the headers, HTTP's and WAV's; what this returns is the handler's response. Raises ClientLeft."""
        if request.version >= HttpVersion11:
            self._response.enable_chunked_encoding()
        await self._begin(request, endless_header(self.sample_rate))
        return self._response

    async def write(self, frame: Frame) -> None:
        """More PCM. Raises SlowClient, ClientLeft."""
        with gone_is_left():
            await self._response.write(frame.data)
        await self._outflow.settle(self._writer)
