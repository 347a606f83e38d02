"""What the tests of the app's backend stand on: its own web server, which is told of sessions, and its requests to ours."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pybase64
from aiohttp import web

from gateway.app import serving
from gateway.settings import GatewaySettings
from realtime_bridge import service as bridge_service
from realtime_bridge.settings import BridgeSettings
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from simulator.server import running
from streams.dispatch import Assignments
from streams.hub import open_hub
from streams.workforce import Workforce
from tests.contract.doors.openai_stage import LIMIT_S, Object, System
from transcoder import worker as transcoder
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool

KEY, OTHER_KEY = "backend-key-" * 3, "the-old-key-" * 3
TOKENS = "tokens-secret-" * 3
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def is_signed(headers: Any, body: bytes, secret: str = SECRET, *, within_s: float = 300.0) -> bool:
    """Whether a receiver accepts it that goes by the specification of Standard Webhooks, and knows nothing of our code."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > within_s or "." in message_id:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, shown) for shown in headers["webhook-signature"].split(" "))


@dataclass
class Told:
    """One request that the app's backend got."""

    id: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Object:
        event: Object = msgspec.json.decode(self.body)
        return event


@dataclass
class AppBackend:
    """The app's web server. It answers by `answers`, in order, and then with 204; `None` is no answer at all."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert is_signed(headers, body)
        self.told.append(Told(headers["webhook-id"], headers, body))
        answer = self.answers.pop(0) if self.answers else 204
        if answer is None:
            await asyncio.sleep(LIMIT_S)
        return web.Response(status=answer or 204, headers={"Location": f"{self.url}/elsewhere"})

    async def hears(self, count: int) -> list[Told]:
        """So many requests, as soon as they have come."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.told) < count:  # noqa: ASYNC110 - a server of its own: no event
                await asyncio.sleep(0.005)
        return self.told


@asynccontextmanager
async def app_backend() -> AsyncIterator[AppBackend]:
    backend = AppBackend()
    app = web.Application()
    app.router.add_post("/hooks", backend.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    backend.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield backend
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Object


class Api:
    """The app's backend as it asks us. Each request goes to the next gateway."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str]) -> None:
        self._http, self._urls = http, urls
        self._asked = 0

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = KEY, headers: dict[str, str] | None = None
    ) -> Answer:
        self._asked += 1
        shown = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        data = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        url = self._urls[self._asked % len(self._urls)] + path
        async with self._http.request(method, url, data=data, headers=shown) as response:
            return Answer(response.status, msgspec.json.decode(await response.read()))

    async def document(self, sid: str, wanted: Callable[[Object], bool] = lambda document: True) -> Object:
        """The session's, as soon as it is as wanted."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                answer = await self.ask("GET", f"/v1/sessions/{sid}")
                if answer.status == 200 and wanted(answer.body):
                    return answer.body
                await asyncio.sleep(0.01)


def has_ended(document: Object) -> bool:
    return bool(document["status"] == "ended")


def said(document: Object) -> list[tuple[str, str | None]]:
    return [(turn["role"], turn.get("text")) for turn in document["turns"]]


class Parley(System):
    """Two gateways, a bridge process as it is started, the simulator, and the app's backend."""

    api: Api
    backend: AppBackend


@asynccontextmanager
async def parley(
    redis: EmbeddedServer,
    options: Options,
    *,
    keep_s: float = 3600.0,
    tells: bool = True,
    tokens: bool = False,
    bridge: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Parley]:
    """`tells`: the app's backend is told of ends; `tokens`: clients show tokens, but at the doors of the contracts;
    `bridge`, `more`: settings of the bridge, and of the gateways."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(app_backend())
        simulator = await stack.enter_async_context(running(options))
        shared: dict[str, Any] = {"REDIS_URL": redis.url, "PARLEY_KEEP_S": keep_s, "PARLEY_TRANSCRIPTION_MODEL": "t"}
        if tells:
            shared["PARLEY_WEBHOOK_URL"] = backend.url
        bridging = BridgeSettings(
            OPENAI_BASE_URL=simulator.base_url,
            OPENAI_API_KEY="k",
            PARLEY_WEBHOOK_SECRET=SECRET,
            **shared,
            **(bridge or {}),
        )
        secret: dict[str, Any] = {"JWT_SECRET": TOKENS} if tokens else {}
        gateway = GatewaySettings(PORT=0, PARLEY_API_KEYS=f"{KEY} {OTHER_KEY}", **secret, **shared, **more)
        stop = asyncio.Event()
        serve = asyncio.create_task(bridge_service.serve(bridging, stop))
        stack.push_async_callback(asyncio.wait_for, serve, LIMIT_S)
        stack.callback(stop.set)
        stops = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        urls = [await each.enter_async_context(serving(gateway)) for each in stops]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        whole = Parley(http, urls, simulator, stops)
        whole.api, whole.backend = Api(http, urls), backend
        yield whole


@asynccontextmanager
async def parley_with_transcoder(redis: EmbeddedServer, options: Options, **settings: Any) -> AsyncIterator[Parley]:
    """And a transcoder."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(DecoderPool(1))
        hub = await stack.enter_async_context(open_hub(redis.url))
        assignments = Assignments(hub, "transcoder", "test")
        await assignments.open()
        streams = await stack.enter_async_context(StreamPool())
        resources, stop = transcoder.Resources(hub, pool, streams=streams), asyncio.Event()
        workforce = Workforce(assignments, lambda each: transcoder.SessionTranscoder(each.session, resources), 100)
        stack.push_async_callback(asyncio.wait_for, asyncio.create_task(workforce.run(stop)), LIMIT_S)
        stack.callback(stop.set)
        yield await stack.enter_async_context(parley(redis, options, **settings))


def audio(ms: int) -> str:
    """So much of a tone, as an event carries it."""
    return pybase64.b64encode_as_string(bytes(range(48)) * ms)
