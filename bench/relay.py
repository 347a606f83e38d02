"""`python -m bench.relay PORT UPSTREAM`: what a team copies out of a sample today, to be measured beside us.

A connection here is a socket there, and text frames are copied both ways unread. Nothing survives a broken connection or a
restart, nobody else can listen, and nothing is transcoded. It has uvloop, as our services do, though samples do without.

At `/idle` it has an event stream on which nothing comes but keepalives: what the library itself needs for a connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import aiohttp
import uvloop
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from runtime.child import die_with_parent
from runtime.notify import ready

UPSTREAM = web.AppKey("UPSTREAM", str)
HTTP = web.AppKey("HTTP", aiohttp.ClientSession)

KEEPALIVE_S = 12.0
"""As the gateway's."""


async def _relay(request: web.Request) -> web.WebSocketResponse[bool]:
    client = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
    await client.prepare(request)
    headers = {"Authorization": request.headers.get("Authorization", "")}
    async with request.app[HTTP].ws_connect(request.app[UPSTREAM], headers=headers, max_msg_size=0) as upstream:

        async def up() -> None:
            async for message in client:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await upstream.send_str(message.data)
            await upstream.close()

        async def down() -> None:
            async for message in upstream:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await client.send_str(message.data)
            await client.close()

        await asyncio.gather(up(), down())
    return client


async def _idle(request: web.Request) -> EventSourceResponse:
    async with sse_response(request, ping_interval=KEEPALIVE_S, sep="\n") as response:
        await response.write(b": ok\n\n")  # the headers go out with the first write
        await response.wait()
    return response


async def _serve(port: int, upstream: str) -> None:
    app = web.Application()
    app[UPSTREAM] = upstream
    app.router.add_get("/v1/realtime", _relay)
    app.router.add_get("/idle", _idle)
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as app[HTTP]:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        ready()
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    if os.environ.get("PARLEY_PARENT_PID"):
        die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        running.run(_serve(int(sys.argv[1]), sys.argv[2]))
