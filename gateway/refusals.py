"""A request that is refused is answered in one place, whoever refuses it.

Over HTTP with `{"error": "a sentence"}`. A WebSocket that is not admitted is opened and then closed with the reason: a
browser, and every client of contract A, learns nothing of an answer to its handshake. What does not concern the caller but
the page or the crowd (403, 429) is answered to the handshake all the same, before it costs anything.

And what browsers want to hear before they let a page of another origin talk to us (CORS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.admission import check_origin
from gateway.appkeys import CONNECTIONS, METRICS, POLICY, SETTINGS
from gateway.errors import ClientLeft, NeedsWebSocket, NotAdmitted, RequestRefused, SlowClient
from gateway.origins import normal
from gateway.transports.websocket import TextSocket

ANY_DOOR = "any"
"""In the metrics: it was refused before it came to a door, or by what all doors share."""

PREFLIGHT_S = 600
"""For so long a browser need not ask again."""

ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID, X-Parley"
EXPOSED_HEADERS = "Retry-After"

_LARGEST_FRAME = 64 << 10


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a door tells a WebSocket client that it is not admitted."""

    close_code: int
    reason: str
    words: bytes | None = None
    """a text frame before the close"""


Farewells = Mapping[str, Callable[[NotAdmitted], Farewell]]
FAREWELLS = web.AppKey("farewells", Farewells)
"""By door, for those whose protocol has a way of its own."""


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handlers raise RequestRefused, before they have begun to answer; and ClientLeft when nobody is left to be answered."""
    try:
        return await _answered(request, handler)
    except ClientLeft:
        return web.Response()  # which nobody reads


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        check_origin(request)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return _preflight()
        return await handler(request)
    except RequestRefused as refused:
        door = refused.door or ANY_DOOR
        request.app[METRICS].errors.labels(door, refused.code).inc()
        if isinstance(refused, NotAdmitted) and _wants_websocket(request):
            try:
                return await _farewell(request, refused)
            except NeedsWebSocket as needs:
                return answer(request, needs)
        return answer(request, refused)


def answer(request: web.Request, refused: RequestRefused) -> web.Response:
    """With what is left of the body unread: such a connection closes."""
    body = msgspec.json.encode({"error": str(refused)})
    response = web.Response(body=body, status=refused.status, headers=refused.headers, content_type="application/json")
    if not request.content.at_eof():
        response.force_close()
    return response


async def _farewell(request: web.Request, refused: NotAdmitted) -> web.StreamResponse:
    own = request.app[FAREWELLS].get(refused.door or ANY_DOOR)
    farewell = own(refused) if own is not None else Farewell(refused.close_code, str(refused))
    socket = TextSocket(max_message_bytes=_LARGEST_FRAME, send_timeout_s=request.app[SETTINGS].send_timeout_s)
    response = await socket.open(request)
    if farewell.words is not None:
        with suppress(ClientLeft, SlowClient):
            await socket.send(farewell.words)
    await socket.hang_up(farewell.close_code, farewell.reason)
    return response


def _wants_websocket(request: web.Request) -> bool:
    return request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"


def _preflight() -> web.Response:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: f"{PREFLIGHT_S}",
    }
    return web.Response(status=204, headers=headers)


async def tell_browsers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, also on one that is streamed: a page of an origin on the list may read it."""
    allowed = request.app[POLICY].origins
    if not allowed:
        return
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and normal(origin) in allowed:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


async def send_elsewhere(request: web.Request, response: web.StreamResponse) -> None:
    """A gateway that stops keeps no connection for the next request, which would be lost with the process: the client
    dials again, and is somewhere else then."""
    if request.app[CONNECTIONS].draining and not isinstance(response, web.WebSocketResponse):
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"
