"""A request that is refused is answered in one place, whoever refuses it: `{"error": "a sentence"}`."""

from __future__ import annotations

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.appkeys import METRICS
from gateway.errors import RequestRefused

ANY_DOOR = "any"
"""In the metrics: it was refused before it came to a door."""


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handlers raise RequestRefused, before they have begun to answer."""
    try:
        return await handler(request)
    except RequestRefused as refused:
        request.app[METRICS].errors.labels(ANY_DOOR, refused.code).inc()
        return answer(request, refused)


def answer(request: web.Request, refused: RequestRefused) -> web.Response:
    """With what is left of the body unread: such a connection closes."""
    body = msgspec.json.encode({"error": str(refused)})
    response = web.Response(body=body, status=refused.status, headers=refused.headers, content_type="application/json")
    if not request.content.at_eof():
        response.force_close()
    return response
