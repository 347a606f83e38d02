"""Whether this process lives, whether it takes clients, and what it counts."""

from __future__ import annotations

from importlib.metadata import version

import msgspec
from aiohttp import web

from gateway.appkeys import BACKEND, CONNECTIONS, METRICS
from gateway.metrics import CONTENT_TYPE


def routes() -> list[web.RouteDef]:
    return [
        web.get("/health", _health),
        web.get("/livez", _live),
        web.get("/readyz", _ready),
        web.get("/metrics", _metrics),
    ]


async def _health(_: web.Request) -> web.Response:
    """As the shipped mobile app asks for it."""
    return _json({"status": "healthy", "service": "parley", "version": version("parley")})


async def _live(_: web.Request) -> web.Response:
    return _json({"status": "live"})


async def _ready(request: web.Request) -> web.Response:
    """503 with the reason while this process should be sent no clients."""
    if request.app[CONNECTIONS].draining:
        reason: str | None = "this gateway is stopping, or was told to send its clients away"
    else:
        reason = await request.app[BACKEND].trouble()
    if reason is not None:
        return _json({"status": "not ready", "reason": reason}, status=503)
    return _json({"status": "ready"})


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[METRICS].exposition(), headers={"Content-Type": CONTENT_TYPE})


def _json(body: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
