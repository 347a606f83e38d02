"""A wire tap between an official SDK and a gateway: all that crosses the door, either way, and the judgement of it.

The SDKs themselves build their models without looking, so that one of them understood an event proves little. Here every
event is held against the official types, strictly, and against what these do not say (ids, order, base64).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import aiohttp
import msgspec
import pybase64
from aiohttp import web
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import Field, TypeAdapter

SERVER: TypeAdapter[object] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
CLIENT: TypeAdapter[object] = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])

BETA = {
    "modalities",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "turn_detection",
    "temperature",
    "max_response_output_tokens",
}
"""What stood in a session before GA; the official types let it pass."""

_BASE64 = {"response.output_audio.delta": "delta", "input_audio_buffer.append": "audio"}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Crossed:
    """One event."""

    way: Literal["up", "down"]
    text: str
    event: Object


class Tap:
    """What one scenario says and hears, over all of its connections."""

    def __init__(self, gateway: str, http: aiohttp.ClientSession) -> None:
        self.gateway, self._http = gateway, http
        self.url = ""
        """where clients are to dial"""
        self.connections: list[list[Crossed]] = []
        self.dialled: list[web.Request] = []
        self._sockets: list[tuple[web.Request, aiohttp.ClientWebSocketResponse]] = []

    @property
    def log(self) -> list[Crossed]:
        return [crossed for connection in self.connections for crossed in connection]

    def events(self, way: str, kind: str) -> list[Object]:
        return [each.event for each in self.log if each.way == way and each.event["type"] == kind]

    def cut(self) -> None:
        """The network of whoever is connected is gone: no goodbye, to neither end."""
        request, gateway = self._sockets[-1]
        connection = gateway._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        assert request.transport is not None
        request.transport.abort()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """As a proxy; the handshake is the gateway's."""
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("authorization", "openai-beta", "user-agent", "x-parley") or name.lower() == "origin"
        }
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = [each.strip() for each in offered.split(",") if each.strip()]
        url = f"{self.gateway}{request.rel_url}"
        async with self._http.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0) as gateway:
            client = web.WebSocketResponse(protocols=[gateway.protocol] if gateway.protocol else (), max_msg_size=0)
            await client.prepare(request)
            log: list[Crossed] = []
            self.connections.append(log)
            self.dialled.append(request)
            self._sockets.append((request, gateway))
            await self._pass_on(client, gateway, log)
        return client

    async def _pass_on(
        self, client: web.WebSocketResponse, gateway: aiohttp.ClientWebSocketResponse, log: list[Crossed]
    ) -> None:
        """Until one of them is gone; whoever is left is told as it was told."""

        async def up() -> None:
            async for message in client:
                log.append(Crossed("up", message.data, msgspec.json.decode(message.data)))
                await gateway.send_str(message.data)
            if client.close_code in (1000, 1001):
                await gateway.close(code=client.close_code)

        async def down() -> None:
            async for message in gateway:
                log.append(Crossed("down", message.data, msgspec.json.decode(message.data)))
                await client.send_str(message.data)
            await client.close(code=gateway.close_code or 1006)

        ways = [asyncio.create_task(up()), asyncio.create_task(down())]
        with suppress(ConnectionError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for ended in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError | ConnectionError):
                raise ended


@asynccontextmanager
async def tapping(gateway: str, http: aiohttp.ClientSession, tls: ssl.SSLContext | None = None) -> AsyncIterator[Tap]:
    """A tap in front of a gateway, on a port of its own."""
    tap = Tap(gateway, http)
    app = web.Application()
    app.router.add_get("/v1/realtime", tap.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    tap.url = f"http://127.0.0.1:{port}/v1" if tls is None else f"https://localhost:{port}/v1"
    try:
        yield tap
    finally:
        await runner.cleanup()


# ---- the judgement --------------------------------------------------------------------------------------------------


def judge(tap: Tap) -> None:
    """All that crossed is what the protocol's own types and orders say."""
    assert tap.log, "nothing has crossed"
    for crossed in tap.log:
        (CLIENT if crossed.way == "up" else SERVER).validate_json(crossed.text, strict=True)
        _judge_session(crossed.event)
        if (field := _BASE64.get(crossed.event["type"])) is not None:
            pybase64.b64decode(crossed.event[field], validate=True)
    _judge_order(list(_told(tap)))


def _told(tap: Tap) -> Iterator[Object]:
    """Each event of the session's once. Only a connection that goes on may begin with what had been told already."""
    said: dict[str, str] = {}
    for connection in tap.connections:
        goes_on = bool(said)
        for each in connection:
            if each.way == "up":
                continue
            event_id = each.event["event_id"]
            if goes_on and said.get(event_id) == each.text:
                continue
            assert event_id not in said, f"told twice: {each.text[:200]}"
            said[event_id] = each.text
            yield each.event


def _judge_session(event: Object) -> None:
    """Also of what the client says: it is not to be made to speak the dialect of yesterday."""
    session = event.get("session")
    if not isinstance(session, dict):
        return
    assert not BETA & session.keys(), sorted(BETA & session.keys())
    assert len(session.get("output_modalities", ["audio"])) == 1
    if event["type"] in ("session.created", "session.updated"):
        assert session["type"] == "realtime"
        assert session["object"] == "realtime.session"
        assert session["id"].startswith("sess_")
        assert session["model"] == "gpt-realtime-2.1", "the deployment's, whatever was asked for"


def _judge_order(events: Sequence[Object]) -> None:
    """Nothing is told of what has not begun, or of what has ended."""
    assert events[0]["type"] == "session.created"
    active: set[str] = set()
    done: set[str] = set()
    parts: set[tuple[str, int]] = set()
    for event in events[1:]:
        kind = event["type"]
        match kind:
            case "session.created":
                assert event["session"]["id"] == events[0]["session"]["id"], "it goes on"
            case "response.created":
                active.add(event["response"]["id"])
            case "response.done":
                assert event["response"]["id"] in active
                active.discard(event["response"]["id"])
                done.add(event["response"]["id"])
            case _ if kind.startswith("response."):
                assert event["response_id"] in active - done, (kind, event["response_id"])
                if kind == "response.content_part.added":
                    parts.add((event["item_id"], event["content_index"]))
                elif kind == "response.content_part.done":
                    parts.discard((event["item_id"], event["content_index"]))
                elif "content_index" in event:
                    assert (event["item_id"], event["content_index"]) in parts, kind
    assert not done & active
