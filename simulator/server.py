"""The shell: sockets around `Session`. It reads, asks the session what is due, sends that, and sleeps until more is.

Everything that is sent goes through `_Connection.flush`, one effect after the other. Faults on demand (`faults.py`) and the
older dialect (`dialect.py`) are between the session's effects and the socket, there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from aiohttp import WSCloseCode, WSMsgType, web

from simulator.agenda import Close
from simulator.connect import ConnectionRefused, admit, status
from simulator.dialect import IS_AZURE, to_client
from simulator.faults import Fault
from simulator.ids import Ids
from simulator.options import Options
from simulator.session import Session
from simulator.wire import Object, encode

PATH = "/v1/realtime"
AZURE_PATHS = {"azure": "/openai/v1/realtime", "azure-preview": "/openai/realtime"}
MAX_FRAME = 16 * 1024 * 1024
"""An append of 15 MiB of base64, and the JSON around it."""
ON_DEMAND = "On demand."
"""Why a fault closes a connection."""
_GOODBYE_S = 1.0
"""How long a client may take to answer a close."""
_REMEMBERED = 1024
"""Sessions that outlive their connection, for their recordings; none when nothing is recorded."""

_Socket: TypeAlias = "web.WebSocketResponse[Literal[False]]"
"""Its text frames come as bytes, for a JSON decoder that wants bytes."""


class Numbers:
    """Of connections, from 1."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


OPTIONS = web.AppKey("options", Options)
SESSIONS: web.AppKey[deque[Session]] = web.AppKey("sessions", deque)
SOCKETS: web.AppKey[set[_Socket]] = web.AppKey("sockets", set)
NUMBERS = web.AppKey("numbers", Numbers)


class CannotListen(Exception):
    """The address is taken, not ours, or not allowed; the message is a sentence."""


def create_app(options: Options) -> web.Application:
    app = web.Application()
    app[OPTIONS] = options
    app[SESSIONS] = deque(maxlen=_REMEMBERED if options.record_s else 0)
    app[SOCKETS] = set()
    app[NUMBERS] = Numbers()
    app.router.add_get(AZURE_PATHS.get(options.dialect, PATH), _realtime)
    app.router.add_get("/livez", _live)
    app.on_shutdown.append(_close_sockets)
    return app


@dataclass(frozen=True, slots=True)
class Running:
    base_url: str
    """what an SDK takes as its base URL: http://HOST:PORT/v1"""
    sessions: deque[Session]
    """all sessions since the start, the latest last, also those that ended; empty when `record_s` is 0"""

    @property
    def url(self) -> str:
        """Where to open the WebSocket, but for `?model=`."""
        return f"ws{self.base_url.removeprefix('http')}/realtime"


@asynccontextmanager
async def running(options: Options, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Running]:
    """A simulator in this process, for as long as the context lasts; port 0 picks a free one. Raises CannotListen."""
    app = create_app(options)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(f"The simulator cannot listen on {host}:{port}: {error.strerror or error}.") from error
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield Running(f"http://{shown}:{bound}/v1", app[SESSIONS])
    finally:
        await runner.cleanup()


async def _live(_: web.Request) -> web.Response:
    """For whoever watches this process; no part of the protocol."""
    return web.json_response({"status": "live"})


async def _realtime(request: web.Request) -> web.StreamResponse:
    options = request.app[OPTIONS]
    if options.reject_http is not None:
        return web.json_response({"error": {"message": "Rejected on demand."}}, status=options.reject_http)
    if options.dialect in IS_AZURE:
        try:
            admit(options, request.headers, request.query)
        except ConnectionRefused as refused:
            return web.json_response({"error": {"message": refused.reason}}, status=status(refused))
    ws: _Socket = web.WebSocketResponse(
        protocols=("realtime",), max_msg_size=MAX_FRAME, decode_text=False, timeout=_GOODBYE_S
    )
    await ws.prepare(request)
    try:
        model = admit(options, request.headers, request.query)
    except ConnectionRefused as refused:
        await _refuse(ws, refused)
        return ws
    session = Session(options, model, now=asyncio.get_running_loop().time(), wall=time.time())
    request.app[SESSIONS].append(session)
    request.app[SOCKETS].add(ws)
    try:
        number = request.app[NUMBERS].next()
        await _Connection(ws, session, options, request.transport, number).serve(options.ping_interval_s)
    finally:
        request.app[SOCKETS].discard(ws)
    return ws


async def _refuse(ws: _Socket, refused: ConnectionRefused) -> None:
    event = {**refused.event(None), "event_id": Ids(Random()).new("event")}
    await ws.send_frame(encode(event), WSMsgType.TEXT)
    await ws.close(code=refused.close_code, message=refused.reason.encode())


class _Connection:
    """One socket and its session: a task that reads, one that waits for the timer, one that pings."""

    def __init__(
        self, ws: _Socket, session: Session, options: Options, transport: asyncio.Transport | None, number: int
    ) -> None:
        self._ws = ws
        self._session = session
        self._options, self._transport, self._number = options, transport, number
        self._sent = Counter[str]()
        """events, by kind"""
        self._is_dead = asyncio.Event()
        """the line is, and nobody has said so"""
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._timer_moved = asyncio.Event()

    async def serve(self, ping_interval_s: float) -> None:
        """Until the client leaves, the session closes it, or the server stops."""
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._keep_time(), name="timer")]
                if ping_interval_s:
                    helpers.append(tasks.create_task(self._ping(ping_interval_s), name="ping"))
                await self._read()
                for helper in helpers:
                    helper.cancel()
        except* ConnectionError:
            pass  # the client is gone without a goodbye; nobody is left to be told

    async def flush(self) -> None:
        """Send what is due. A client that does not read makes its own reader wait here, and so is not read either."""
        async with self._sending:
            for effect in self._session.due(self._loop.time()):
                if self._is_dead.is_set():
                    return
                if isinstance(effect, Close):
                    await self._ws.close(code=effect.code, message=effect.reason.encode())
                    return
                event = to_client(effect, self._options.dialect, sparse=self._options.sparse)
                if event is not None:
                    await self._ws.send_frame(encode(event), WSMsgType.TEXT)
                    kind = str(effect["type"])
                    self._sent[kind] += 1
                    for fault in self._options.faults:
                        if fault.strikes(self._number, self._sent, kind) and await self._strike(fault):
                            return

    async def _strike(self, fault: Fault) -> bool:
        """Whether the connection is of no use any more."""
        match fault.kind:
            case "error":
                await self._send_error("server_error", None, "The server had an error. On demand.")
                return False
            case "garbage":
                await self._ws.send_frame(b'{"type":', WSMsgType.TEXT)
                return False
            case "expire":
                await self._send_error("invalid_request_error", "session_expired", "Your session hit its maximum duration.")
                await self._ws.close(code=WSCloseCode.GOING_AWAY, message=b"Your session hit its maximum duration.")
            case "close":
                await self._ws.close(code=fault.code, message=ON_DEMAND.encode())
            case "reset" if self._transport is not None:
                self._transport.abort()
        self._is_dead.set()
        return True

    async def _send_error(self, kind: str, code: str | None, message: str) -> None:
        detail: Object = {"type": kind, "code": code, "message": message, "param": None, "event_id": None}
        event: Object = {"type": "error", "event_id": Ids(Random()).new("event"), "error": detail}
        await self._ws.send_frame(encode(event), WSMsgType.TEXT)

    async def _read(self) -> None:
        await self.flush()
        while not self._is_dead.is_set():
            message = await self._ws.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            planned = self._session.timer()
            if message.type is WSMsgType.TEXT:
                self._session.receive_frame(message.data, self._loop.time())
            elif message.type is WSMsgType.BINARY:
                self._session.receive_binary(self._loop.time())
            await self.flush()
            if self._session.timer() != planned:
                self._timer_moved.set()
        if self._transport is not None and not self._ws.closed:  # silent: until the client has had enough
            while not self._transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _keep_time(self) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._session.timer()):
                    await self._timer_moved.wait()
            except TimeoutError:
                await self.flush()
            self._timer_moved.clear()

    async def _ping(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            await self._ws.ping(os.urandom(4))


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    goodbye = b"The server is going away."
    await asyncio.gather(*(ws.close(code=WSCloseCode.GOING_AWAY, message=goodbye) for ws in sockets))
