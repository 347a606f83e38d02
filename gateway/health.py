"""Whether this process lives, whether it takes clients, and what it counts."""

from __future__ import annotations

from importlib.metadata import version

import msgspec
from aiohttp import web

from gateway.addresses import is_loopback
from gateway.admission import address_of
from gateway.appkeys import BACKEND, CONNECTIONS, METRICS, SETTINGS
from gateway.errors import MetricsNotGiven
from gateway.metrics import CONTENT_TYPE
from runtime.metrics import may_read


def routes(*, with_metrics: bool) -> list[web.RouteDef]:
    """`with_metrics`: there is no port of their own for them."""
    health = [web.get("/health", _health), web.get("/livez", _live), web.get("/readyz", _ready)]
    return [*health, web.get("/metrics", _metrics)] if with_metrics else health


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
    """Raises MetricsNotGiven: this port is open to clients, who need not know how much is going on here."""
    token = request.app[SETTINGS].metrics_token
    if token is None:
        if not _is_from_here(request):
            raise MetricsNotGiven
    elif not may_read(request.headers.get("Authorization", ""), token.get_secret_value()):
        raise MetricsNotGiven
    return web.Response(body=request.app[METRICS].exposition(), headers={"Content-Type": CONTENT_TYPE})


def _is_from_here(request: web.Request) -> bool:
    """Not by way of a proxy on this machine, unless it is one that is believed and says so."""
    forwarded = any(header in request.headers for header in ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via"))
    found = address_of(request)
    return is_loopback(found) and (not forwarded or found != request.remote)


def _json(body: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
