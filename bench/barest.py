"""`python -m bench.barest gateway PORT`, `… bridge UPSTREAM`: the least that can stand between client and model.

By way of Redis, as Parley does it: a frame of the client's is an entry of a stream, which one script stores and publishes;
the bridge hears it and sends it upstream; back it goes the same way. And nothing else: no JSON is read, nothing is checked,
counted, kept, resumed or limited, a lost connection is lost, and there is no task, no queue and no await in the way of a
frame but aiohttp's own. Whoever has these libraries and goes this way pays at least so much.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import hiredis
import uvloop
from aiohttp import web

from runtime.child import die_with_parent
from runtime.notify import ready

SCRIPT = "local id = redis.call('XADD', KEYS[1], '*', 'b', ARGV[1]) redis.call('SPUBLISH', KEYS[1], ARGV[1]) return id"
KEPT_S = 20
"""A stream is deleted so long after its session began."""

OPENED = "{bench:barest}:opened"
"""The channel on which a bridge is told of a session."""

Heard = Callable[[bytes], None]


class Server(asyncio.Protocol):
    """Redis over two connections: this one hears channels, `_Commands` writes."""

    def __init__(self, commands: _Commands) -> None:
        self.commands = commands
        self._channels: dict[bytes, Heard] = {}
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self._answers = hiredis.Reader(notEnoughData=...)
        self._transport: asyncio.Transport

    @classmethod
    async def at(cls, url: str) -> Server:
        address, loop = urlsplit(url), asyncio.get_running_loop()
        assert address.hostname is not None
        assert address.port is not None
        _, commands = await loop.create_connection(_Commands, address.hostname, address.port)
        _, server = await loop.create_connection(lambda: cls(commands), address.hostname, address.port)
        server.commands.sha = await commands.do("SCRIPT", "LOAD", SCRIPT)
        return server

    async def hear(self, channel: str, heard: Heard) -> None:
        name = channel.encode()
        self._channels[name] = heard
        subscribed = self._subscribed[name] = asyncio.get_running_loop().create_future()
        self._transport.write(_packed("SSUBSCRIBE", name))
        await subscribed

    def leave(self, channel: str) -> None:
        self._channels.pop(channel.encode(), None)
        self._transport.write(_packed("SUNSUBSCRIBE", channel))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._answers.feed(data)
        while (answer := self._answers.gets()) is not ...:
            kind, channel, body = answer
            if kind == b"smessage":
                if (heard := self._channels.get(channel)) is not None:
                    heard(body)
            elif kind == b"ssubscribe":
                self._subscribed.pop(channel).set_result(None)


class _Commands(asyncio.Protocol):
    """What one turn of the loop appends goes out together, and one such pipeline is under way at a time, as with Parley."""

    def __init__(self) -> None:
        self.sha: Any = b""
        self._pending: list[bytes] = []
        self._under_way = 0
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._answers = hiredis.Reader(notEnoughData=...)
        self._transport: asyncio.Transport

    def append(self, stream: str, data: bytes) -> None:
        if not self._pending and not self._under_way:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append(_packed("EVALSHA", self.sha, 1, stream, data))

    async def do(self, *command: Any) -> Any:
        """Only before anything is appended."""
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._transport.write(_packed(*command))
        return await asked

    def command(self, *command: Any) -> None:
        """Some command whose answer nobody reads."""
        if not self._pending and not self._under_way:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append(_packed(*command))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._answers.feed(data)
        while (answer := self._answers.gets()) is not ...:
            if self._asked:
                self._asked.popleft().set_result(answer)
            else:
                self._under_way -= 1
        if self._pending and not self._under_way:
            self._flush()

    def _flush(self) -> None:
        self._under_way, pending, self._pending = len(self._pending), self._pending, []
        self._transport.write(b"".join(pending))


def _packed(*command: Any) -> bytes:
    packed: bytes = hiredis.pack_command(command)
    return packed


def _send_now(sent: Coroutine[Any, Any, None]) -> None:
    """An uncompressed frame is written without a wait, while what was written before is not too much."""
    try:
        sent.send(None)
    except StopIteration:
        return
    sent.close()
    raise BlockingIOError("nobody reads")


async def _gateway(server: Server, port: int) -> None:
    numbers = count(1)

    async def converse(request: web.Request) -> web.WebSocketResponse[bool]:
        client: web.WebSocketResponse[bool] = web.WebSocketResponse(
            protocols=("realtime",), max_msg_size=0, compress=False, decode_text=False, writer_limit=sys.maxsize
        )
        await client.prepare(request)
        session = f"{{bench:{os.getpid()}:{next(numbers)}}}"
        up, down = f"{session}:up", f"{session}:down"
        await server.hear(down, lambda frame: _send_now(client.send_frame(frame, aiohttp.WSMsgType.TEXT)))
        server.commands.command("SPUBLISH", OPENED, session)
        async for message in client:
            if message.type is aiohttp.WSMsgType.TEXT:
                server.commands.append(up, message.data)
        server.leave(down)
        server.commands.append(up, b"")
        return client

    app = web.Application()
    app.router.add_get("/v1/realtime", converse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await _until_stopped()
    await runner.cleanup()


async def _bridge(server: Server, url: str) -> None:
    sessions = set[asyncio.Task[None]]()
    headers = {"Authorization": "Bearer bench"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as http:

        async def converse(session: str) -> None:
            up, down = f"{session}:up", f"{session}:down"
            async with http.ws_connect(url, max_msg_size=0, compress=0, decode_text=False) as upstream:

                def said(frame: bytes) -> None:
                    if frame:
                        _send_now(upstream.send_frame(frame, aiohttp.WSMsgType.TEXT))
                    else:
                        ending.append(asyncio.create_task(upstream.close()))

                ending: list[asyncio.Task[bool]] = []
                await server.hear(up, said)
                async for message in upstream:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        server.commands.append(down, message.data)
                server.leave(up)
                await asyncio.gather(*ending)
            for stream in (up, down):
                server.commands.command("EXPIRE", stream, KEPT_S)

        def opened(session: bytes) -> None:
            task = asyncio.create_task(converse(session.decode()))
            sessions.add(task)
            task.add_done_callback(sessions.discard)

        await server.hear(OPENED, opened)
        await _until_stopped()


async def _until_stopped() -> None:
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    ready()
    await stop.wait()


async def _run(role: str, where: str) -> None:
    server = await Server.at(os.environ["REDIS_URL"])
    await (_gateway(server, int(where)) if role == "gateway" else _bridge(server, where))


if __name__ == "__main__":
    if os.environ.get("PARLEY_PARENT_PID"):
        die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        running.run(_run(sys.argv[1], sys.argv[2]))
