"""The shell: sockets around `Session`. It reads, asks the session what is due, sends that, and sleeps until more is.

Everything that is sent goes through `_Connection.flush`, one effect after the other. Faults on demand (`faults.py`) and the
older dialect (`dialect.py`) are between the session's effects and the socket, there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeAlias

from aiohttp import WSCloseCode, WSMsgType, web

from simulator.agenda import Close
from simulator.connect import ConnectionRefused, admit, status
from simulator.control import FAULTS, LEDGER, NUMBERS, Entry, Ledger, Numbers, add_routes
from simulator.dialect import IS_AZURE, to_client
from simulator.faults import Fault, Plan, refusal
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


OPTIONS = web.AppKey("options", Options)
SESSIONS: web.AppKey[deque[Session]] = web.AppKey("sessions", deque)
SOCKETS: web.AppKey[set[_Socket]] = web.AppKey("sockets", set)


class CannotListen(Exception):
    """The address is taken, not ours, or not allowed; the message is a sentence."""


def create_app(options: Options) -> web.Application:
    app = web.Application()
    app[OPTIONS] = options
    app[SESSIONS] = deque(maxlen=_REMEMBERED if options.record_s and options.keeps_sessions else 0)
    app[SOCKETS] = set()
    app[NUMBERS] = Numbers()
    app[FAULTS] = [*options.faults]
    app[LEDGER] = Ledger(options.recorded_sessions)
    app.router.add_get(AZURE_PATHS.get(options.dialect, PATH), _realtime)
    app.router.add_get("/livez", _live)
    add_routes(app, options)
    app.on_shutdown.append(_close_sockets)
    return app


@dataclass(frozen=True, slots=True)
class Running:
    base_url: str
    """what an SDK takes as its base URL: http://HOST:PORT/v1"""
    sessions: deque[Session]
    """all sessions since the start, the latest last, also those that ended; empty when none are kept"""

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
    faults = request.app[FAULTS]
    refused, model, number = None, "", 0
    try:
        model = admit(options, request.headers, request.query)
    except ConnectionRefused as error:
        refused = error
        if options.dialect in IS_AZURE:
            return web.json_response({"error": {"message": refused.reason}}, status=status(refused))
    else:
        number = request.app[NUMBERS].next()
        refused_with = refusal(faults, number)
        if refused_with is not None:
            return web.json_response({"error": {"message": "Refused on demand."}}, status=refused_with)
    ws: _Socket = web.WebSocketResponse(
        protocols=("realtime",),
        max_msg_size=MAX_FRAME,
        decode_text=False,
        timeout=_GOODBYE_S,
        autoping=False,
        autoclose=False,
    )
    await ws.prepare(request)
    if refused is not None:
        await _refuse(ws, refused)
        return ws
    now = asyncio.get_running_loop().time()
    session = Session(options, model, now=now, wall=time.time())
    plan = Plan(faults, number, now)
    connection = _Connection(ws, session, options, request.transport, plan)
    entry = Entry(session.id, model, number, session.recording, session.tally, connection.add_faults)
    request.app[LEDGER].add(entry)
    request.app[SESSIONS].append(session)
    request.app[SOCKETS].add(ws)
    try:
        await connection.serve(options.ping_interval_s)
    finally:
        entry.add_faults = None
        request.app[SOCKETS].discard(ws)
    return ws


async def _refuse(ws: _Socket, refused: ConnectionRefused) -> None:
    event = {**refused.event(None), "event_id": Ids(Random()).new("event")}
    await ws.send_frame(encode(event), WSMsgType.TEXT)
    await ws.close(code=refused.close_code, message=refused.reason.encode())


class _Connection:
    """One socket and its session: a task that reads, one that waits for the timer, one that pings."""

    def __init__(
        self, ws: _Socket, session: Session, options: Options, transport: asyncio.Transport | None, plan: Plan
    ) -> None:
        self._ws = ws
        self._session = session
        self._options, self._transport = options, transport
        self._plans = [plan]
        """what goes wrong: planned before, and by request since"""
        self._last_sound: Object | None = None
        """the last delta of audio that was sent, for zombies"""
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
                    if effect["type"] == "response.output_audio.delta":
                        self._last_sound = event
                    if await self._strike_all([fault for plan in self._plans for fault in plan.behind(effect)]):
                        return
            if not self._is_dead.is_set():
                now = self._loop.time()
                await self._strike_all([fault for plan in self._plans for fault in plan.due(now)])

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """By request, for this connection: it is the only one, and its events and seconds count from now."""
        self._plans.append(Plan([replace(each, connection=None) for each in faults], 0, self._loop.time()))
        self._timer_moved.set()

    async def _strike_all(self, faults: list[Fault]) -> bool:
        """Whether the connection is of no use any more."""
        for fault in faults:
            if await self._strike(fault):
                return True
        return False

    async def _strike(self, fault: Fault) -> bool:
        """Whether the connection is of no use any more."""
        match fault.kind:
            case "error":
                kind = "server_error" if fault.error in (None, "server_error") else "invalid_request_error"
                await self._send_error(kind, fault.error, f"{fault.error or 'The server had an error'}. {ON_DEMAND}")
                return False
            case "zombie":
                for _ in range(fault.code if self._last_sound is not None else 0):
                    zombie: Object = {**(self._last_sound or {}), "event_id": Ids(Random()).new("event")}
                    await self._ws.send_frame(encode(zombie), WSMsgType.TEXT)
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
        while True:
            message = await self._ws.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                break
            if self._is_dead.is_set():
                continue  # read, so that the end of the line is seen, and neither heard nor answered
            if message.type is WSMsgType.PING:
                await self._ws.pong(message.data)
            planned = self._timer()
            if message.type is WSMsgType.TEXT:
                self._session.receive_frame(message.data, self._loop.time())
            elif message.type is WSMsgType.BINARY:
                self._session.receive_binary(self._loop.time())
            await self.flush()
            if self._timer() != planned:
                self._timer_moved.set()
        if not self._is_dead.is_set():
            await self._ws.close()
        elif self._transport is not None and not self._ws.closed:  # silent: until the client has had enough
            while not self._transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _timer(self) -> float | None:
        if self._is_dead.is_set():
            return None
        return min(
            (at for at in (self._session.timer(), *(plan.timer() for plan in self._plans)) if at is not None), default=None
        )

    async def _keep_time(self) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._timer()):
                    await self._timer_moved.wait()
            except TimeoutError:
                await self.flush()
            self._timer_moved.clear()

    async def _ping(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            if not self._is_dead.is_set():
                await self._ws.ping(os.urandom(4))


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    goodbye = b"The server is going away."
    await asyncio.gather(*(ws.close(code=WSCloseCode.GOING_AWAY, message=goodbye) for ws in sockets))
