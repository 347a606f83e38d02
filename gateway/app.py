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
from pydantic import SecretStr

from gateway import health
from gateway.api_keys import ApiKeys
from gateway.appkeys import (
    API_KEYS,
    BACKEND,
    BODIES,
    CALLS,
    CONNECTIONS,
    LIMITS,
    METRICS,
    OPERATORS,
    POLICY,
    RECORDINGS,
    SETTINGS,
    UPLOADS,
)
from gateway.backend import Backend, open_backend
from gateway.behind import keep_looking
from gateway.bodies import Bodies
from gateway.call_recordings import CallRecordings
from gateway.doors import (
    admin,
    api,
    api_recording,
    ios,
    mobile,
    mobile_web,
    openai,
    openai_http,
    openai_refusals,
    openai_secrets,
    openai_session,
    openai_speech,
    pages,
    process_audio,
    recorder,
    tickets,
    watch,
)
from gateway.draining import Connections
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.operators import Operators
from gateway.policy import Policy, warn
from gateway.presence import Presence
from gateway.recordings import Recordings
from gateway.refusals import FAREWELLS, refusals, send_elsewhere, tell_browsers
from gateway.settings import GatewaySettings
from gateway.transports.headers import protocols
from gateway.uploads import Uploads
from runtime import notify
from runtime.errors import PortBusy, StartError
from runtime.metrics import exposed

logger = logging.getLogger(__name__)

READ_BUFFER_BYTES = 16 << 10
"""aiohttp's own 256 KiB, twice for each connection, would make ten thousand of them pin gigabytes."""

KEEP_ALIVE_S = 75.0
"""Of a connection that asks for nothing; longer than a load balancer keeps one that it may still use."""

BACKLOG = 1024
"""Connections that the kernel accepts for us: when a gateway stops, all of its clients come to the others at once."""

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
    app[API_KEYS] = ApiKeys(_keys(settings.api_keys))
    app[OPERATORS] = Operators(_keys(settings.admin_keys), _keys(settings.listen_keys))
    app[admin.WATCHERS] = admin.Watchers()
    app[FAREWELLS] = {openai_session.DOOR: openai_refusals.farewell}
    app[CONNECTIONS] = Connections(app[METRICS])
    app[BODIES] = Bodies()
    app[CALLS] = CallRecordings(settings.recordings)
    app[RECORDINGS] = Recordings(settings.uploads, settings.max_recording_bytes)
    app.cleanup_ctx.append(_backend)
    app.cleanup_ctx.append(_recordings)
    doors = (
        mobile,
        mobile_web,
        process_audio,
        openai,
        openai_http,
        openai_speech,
        openai_secrets,
        watch,
        ios,
        recorder,
        tickets,
        pages,
        api,
        admin,
        api_recording,
    )
    app.add_routes(health.routes(with_metrics=settings.metrics_port is None))
    app.add_routes(route for door in doors for route in door.routes())
    app.on_response_prepare.extend((tell_browsers, send_elsewhere))
    return app


def _keys(setting: SecretStr | None) -> str:
    return setting.get_secret_value() if setting is not None else ""


async def _backend(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    tells = settings.webhook_url is not None
    records = settings.record != "off"
    opened = open_backend(settings.redis_url, settings.grace_s, keep_s=settings.keep_s, webhook=tells, records=records)
    async with opened as backend:
        app[BACKEND] = backend
        app[UPLOADS] = Uploads(backend, app[METRICS], ios.DOOR)
        app[LIMITS] = Limits(backend.redis, app[SETTINGS])
        chores = [
            asyncio.create_task(app[LIMITS].run(), name="gateway.limits"),
            asyncio.create_task(keep_looking(backend.redis, app[METRICS]), name="gateway.behind"),
        ]
        try:
            async with _presence(app, backend):
                yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)


@asynccontextmanager
async def _presence(app: web.Application, backend: Backend) -> AsyncIterator[None]:
    """Where there are operators they see this gateway."""
    if not app[OPERATORS]:
        yield
        return
    presence = Presence(backend, app[CONNECTIONS], app[SETTINGS].drain_s)
    task = asyncio.create_task(presence.run(), name="gateway.presence")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await presence.leave()


async def _recordings(app: web.Application) -> AsyncIterator[None]:
    yield
    app[RECORDINGS].close()


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[str]:
    """A gateway that listens, for as long as the context lasts; gives its address, `http://host:port`.

    Raises SettingsError, StartError when Redis is not fit, PortBusy when somebody else listens there.
    """
    app = create_app(settings)
    async with exposed(app[METRICS], settings), _served(app, settings) as address:
        yield address


@asynccontextmanager
async def _served(app: web.Application, settings: GatewaySettings) -> AsyncIterator[str]:
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    try:
        await runner.setup()
        server = await _listen(runner, settings)
        host, port = server.sockets[0].getsockname()[:2]
        try:
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            server.close()
            await app[CONNECTIONS].dismiss(settings.drain_s)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: GatewaySettings) -> asyncio.Server:
    assert runner.server is not None
    handlers = protocols(
        runner.server,
        head_timeout_s=settings.header_timeout_s,
        access_log=None,  # our own lines name the session
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=MAX_LINE_BYTES,
        auto_decompress=False,  # a small body may hold gigabytes
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGERING_S,
    )
    try:
        return await asyncio.get_running_loop().create_server(handlers, settings.host, settings.port, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(settings.host, settings.port, "PORT") from error
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(
            f"The gateway cannot listen on {settings.host}:{settings.port} ({reason})."
            " Set HOST to an address of this machine, and PORT to one that you may use."
        ) from error


async def run(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises StartError."""
    async with serving(settings) as address:
        warn(settings, Policy.of(settings))
        logger.info("the gateway listens on %s", address)
        notify.ready()
        await stop.wait()
        logger.info("the gateway stops")
