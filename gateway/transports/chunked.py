"""How the body of a request comes in, piece by piece, while it is still being sent.

aiohttp limits neither the size nor the time of a body that a handler reads by itself. `chunks` limits both. What the handler
has not taken stays in aiohttp's read buffer, and when that is full in the client's TCP: a client that is quicker than we
are waits, and one that stalls costs a task that sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from aiohttp import web

from gateway.errors import BodyTooLarge, BrokenBody, CodedBody, StalledBody

RATE_WINDOW_S = 10.0
"""The least rate is looked at over so long."""

WHOLE_BYTES_S = 1024.0
"""The least rate of a body that is sent as one. Speech needs thirty times that; who sends less only holds a connection."""


async def chunks(
    request: web.Request, *, max_bytes: int | None, idle_s: float, min_bytes_s: float = 0.0
) -> AsyncGenerator[bytes, None]:
    """What the client sends, as it comes: pieces of any size but none, ended by the end of the body.

    `max_bytes`: of the whole body; None for one that never ends. `idle_s`: how long nothing may come. `min_bytes_s`: what
    must come in a second, on average over RATE_WINDOW_S; leave it at 0 where a client may say nothing for a while.

    Take it in `async with aclosing(chunks(…)) as body`. Raises BodyTooLarge (413), StalledBody (408), CodedBody (415; told
    before the first piece), BrokenBody (400). Each is a RequestRefused: a handler that lets it pass has it answered, and the
    connection closed. What came before was given; it is for the door to keep it or not.
    """
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise CodedBody
    if max_bytes is not None and request.content_length is not None and request.content_length > max_bytes:
        raise BodyTooLarge(max_bytes)
    loop = asyncio.get_running_loop()
    total, since, in_window = 0, loop.time(), 0
    while True:
        try:
            async with asyncio.timeout(idle_s):
                data = await request.content.readany()
        except TimeoutError:
            raise StalledBody from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise BrokenBody from error
        if not data:
            return
        total += len(data)
        if max_bytes is not None and total > max_bytes:
            raise BodyTooLarge(max_bytes)
        in_window += len(data)
        if (now := loop.time()) - since >= RATE_WINDOW_S:
            if in_window < min_bytes_s * (now - since):
                raise StalledBody
            since, in_window = now, 0
        yield data


async def whole(
    request: web.Request, *, max_bytes: int, idle_s: float, came: Callable[[int], None] = lambda size: None
) -> bytes:
    """A body of at most `max_bytes`, all of it, at WHOLE_BYTES_S or more. Raises as `chunks` does.

    `came`: called with the size of each piece; what it raises is raised.
    """
    body = bytearray()
    async for data in chunks(request, max_bytes=max_bytes, idle_s=idle_s, min_bytes_s=WHOLE_BYTES_S):
        came(len(data))
        body += data
    return bytes(body)
