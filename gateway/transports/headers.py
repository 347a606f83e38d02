"""How long a client may take to say what it wants.

aiohttp waits for the head of a request without limit, so that a thousand connections which send a byte a minute cost their
owner nothing. Here a connection that has begun a request, or has just been made, has so long to complete its head. What it
does after that is none of this file's business: a request that runs, a WebSocket, and an idle connection that is kept
alive are let alone.

And what is no HTTP at all is answered, but not logged as aiohttp does, with a traceback: anybody could fill our logs, and
what they would quote may hold somebody's token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

logger = logging.getLogger(__name__)


class RequestHandler(web.RequestHandler):
    """aiohttp's, with a time limit for heads, and few words about what is no HTTP."""

    __slots__ = ("_head_timeout_s", "_head_timer")

    def __init__(self, server: web.Server, *, head_timeout_s: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        super().data_received(data)
        if self._request_count > heads:
            self._has_head()
        elif self._waiter is not None and data.strip(b"\r\n"):  # nothing runs, so this begins something
            self._wait_for_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        kind = type(exc).__name__
        logger.debug("a client has sent what is no HTTP: %s", kind)
        sentence = f"This cannot be read as HTTP ({kind})."
        if isinstance(exc, LineTooLong):
            sentence = "A line in the head of this request is too long. Send less in its address and in each header."
        body = msgspec.json.encode({"error": sentence})
        response = web.Response(body=body, status=status, content_type="application/json")
        response.force_close()
        return response

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._head_timeout_s, self.force_close)

    def _has_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def protocols(server: web.Server, *, head_timeout_s: float, **options: Any) -> Callable[[], RequestHandler]:
    """What `loop.create_server` takes. `options`: those of aiohttp's RequestHandler."""
    loop = asyncio.get_running_loop()
    return lambda: RequestHandler(server, head_timeout_s=head_timeout_s, loop=loop, **options)
