"""The app's own backend: a real web server that is called, and answers as a test wants."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from realtime_bridge.signing import signed_headers, signing_keys

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()

Handler = Callable[["Posted"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Posted:
    headers: dict[str, str]
    body: bytes
    nth: int
    """which request it is, from 1"""

    @property
    def call(self) -> dict[str, Any]:
        call: dict[str, Any] = msgspec.json.decode(self.body)
        return call

    @property
    def is_signed(self) -> bool:
        """As a receiver checks it."""
        ours = signed_headers(
            self.headers["webhook-id"], int(self.headers["webhook-timestamp"]), self.body, signing_keys(SECRET)
        )
        return self.headers["webhook-signature"] == ours["webhook-signature"]


@dataclass
class Backend:
    url: str = ""
    posted: list[Posted] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    at_once: int = 0
    most_at_once: int = 0
    given_up: int = 0
    """requests whose caller has hung up before the answer"""

    async def until_posted(self, count: int, within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s), self.came:
            await self.came.wait_for(lambda: len(self.posted) >= count)


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[Backend]:
    """Such a server, answering with what `handler` makes of a request."""
    state = Backend()

    async def post(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        posted = Posted(headers, await request.read(), len(state.posted) + 1)
        async with state.came:
            state.posted.append(posted)
            state.came.notify_all()
        state.at_once += 1
        state.most_at_once = max(state.most_at_once, state.at_once)
        try:
            return await handler(posted)
        except asyncio.CancelledError:
            state.given_up += 1
            raise
        finally:
            state.at_once -= 1

    app = web.Application()
    app.router.add_post("/tools", post)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        state.url = f"http://127.0.0.1:{runner.addresses[0][1]}/tools"
        yield state
    finally:
        await runner.cleanup()
