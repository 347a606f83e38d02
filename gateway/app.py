"""The only place where things are wired: routes, what the handlers share, and the order of closing.

What opened last closes first. When the process stops: no new connections, then the clients are told and their sessions
ended, then what is left of the requests, then Redis.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway import health
from gateway.appkeys import BACKEND, CONNECTIONS, METRICS, POLICY, SETTINGS
from gateway.backend import open_backend
from gateway.connections import Connections
from gateway.doors import mobile, openai, tickets, watch
from gateway.metrics import Metrics
from gateway.policy import Policy, warn
from gateway.refusals import FAREWELLS, refusals, tell_browsers
from gateway.settings import GatewaySettings
from runtime import notify
from runtime.errors import PortBusy, StartError

logger = logging.getLogger(__name__)

READ_BUFFER_BYTES = 16 << 10
"""aiohttp's own 256 KiB, twice for each connection, would make ten thousand of them pin gigabytes."""

LINGERING_S = 2.0
"""How long what is left of a body is read and dropped after the answer, so that the client gets to see the answer."""

MAX_LINE_BYTES = 64 << 10
"""Of a request's address: the watch puts what was said before into it, for which aiohttp's own 8 KiB are few."""

SHUTDOWN_TIMEOUT_S = 1.0
"""For requests that still run when all WebSockets have been told."""


def create_app(settings: GatewaySettings) -> web.Application:
    """The application, not started. To start, it needs a Redis server that answers (StartError). Raises SettingsError."""
    app = web.Application(middlewares=[refusals])
    app[SETTINGS] = settings
    app[METRICS] = Metrics()
    app[POLICY] = Policy.of(settings)
    app[FAREWELLS] = {openai.DOOR: openai.farewell}
    app[CONNECTIONS] = Connections(app[METRICS])
    app.cleanup_ctx.append(_backend)
    app.add_routes([*health.routes(), *mobile.routes(), *openai.routes(), *tickets.routes(), *watch.routes()])
    app.on_response_prepare.append(tell_browsers)
    return app


async def _backend(app: web.Application) -> AsyncIterator[None]:
    async with open_backend(app[SETTINGS].redis_url) as backend:
        app[BACKEND] = backend
        yield


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[str]:
    """A gateway that listens, for as long as the context lasts; gives its address, `http://host:port`.

    Raises SettingsError, StartError when Redis is not fit, PortBusy when somebody else listens there.
    """
    app = create_app(settings)
    runner = web.AppRunner(
        app,
        access_log=None,  # our own lines name the session
        handler_cancellation=True,
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=MAX_LINE_BYTES,
        auto_decompress=False,  # a small body may hold gigabytes
        lingering_time=LINGERING_S,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )
    try:
        await runner.setup()
        site = await _listen(runner, settings)
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            await site.stop()
            await app[CONNECTIONS].dismiss()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: GatewaySettings) -> web.TCPSite:
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(settings.host, settings.port, "PORT") from error
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(
            f"The gateway cannot listen on {settings.host}:{settings.port} ({reason})."
            " Set HOST to an address of this machine, and PORT to one that you may use."
        ) from error
    return site


async def run(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises StartError."""
    async with serving(settings) as address:
        warn(settings, Policy.of(settings))
        logger.info("the gateway listens on %s", address)
        notify.ready()
        await stop.wait()
        logger.info("the gateway stops")
