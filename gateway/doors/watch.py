"""❶❽ The watch app, whose system allows no WebSockets: Server-Sent Events down, one endless POST up; and on the phone, JSON
over a WebSocket (`gateway.doors.watch_phone`).

The three requests of a conversation find each other by its id, each on any gateway. The stream opens the session and holds
it; an upload only speaks in it; an end lets the model answer first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from gateway.admission import admit, admitted
from gateway.allowance import Allowance, seconds_of
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.caller import Caller
from gateway.connections import Connection
from gateway.doors import watch_address as address
from gateway.doors import watch_messages as wire
from gateway.doors import watch_phone
from gateway.doors.watch_conversation import ANYBODY, DOOR, downlink, end, is_there, refusing, take
from gateway.errors import (
    Busy,
    ClientLeft,
    ConnectionOver,
    DoorError,
    NoConversation,
    NotNow,
    NotStored,
    SessionEnded,
    SessionFailed,
    SessionGone,
    SlowClient,
)
from gateway.goodbye import to_its_end
from gateway.limits import Room
from gateway.listening import Listening
from gateway.live_uplink import LiveUplink
from gateway.naming import Opened, resume
from gateway.outbox import Frame
from gateway.output import LIVE_FORMATS, read_output, read_paced
from gateway.paced import Paced
from gateway.place import Place, on_the_way, place_of
from gateway.refusals import answer
from gateway.replay import resync_from
from gateway.session import ClientSession
from gateway.transports.chunked import chunks
from gateway.transports.lasting import CLOSE_TIMEOUT_S
from gateway.transports.outflow import gone_is_left
from gateway.transports.sse import EventStream, was_replaced
from runtime.logs import SessionLogger
from streams import pcm
from streams.ids import just_before
from streams.sessions import Session
from streams.up import JOINED_BYTES

logger = logging.getLogger(__name__)

WAIT_FOR_STREAM_S = 2.0
"""For so long an upload waits for a conversation that is not there yet."""

LOOK_EVERY_S = 0.05
"""While it waits: the stream may be on its way at another gateway."""

UPLOAD_IDLE_S = 120.0
"""A body in which nothing comes for so long has been forgotten."""

HEARS_WITHIN_S = 2.0
"""Of a goodbye: so long what a client says on is taken. It ends sooner with the body, or the connection."""

WAITING_BYTES = 256 << 10
"""Of one upload, not stored yet. Past it the body is read no further: some five seconds."""


def routes() -> list[web.RouteDef]:
    return [
        web.get("/realtime/stream", _stream, allow_head=False),
        web.post("/realtime/upload", _upload),
        web.post("/realtime/end", _end),
        web.get("/realtime", watch_phone.converse, allow_head=False),
    ]


# ---- down: the stream -----------------------------------------------------------------------------------------------


class WatchStream(EventStream):
    """Says goodbye before it closes."""

    async def close(self, over: ConnectionOver) -> None:
        with suppress(ClientLeft, SlowClient, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for word in _last_words(over):
                    await self.write_last(_frame(word), over)
        await super().close(over)


def _last_words(over: ConnectionOver) -> list[wire.ToClient]:
    match over:
        case SessionEnded() | SessionFailed() | SessionGone():  # why it failed was told by the bridge
            return [wire.ConversationEnded()]
        case ClientLeft() | SlowClient():
            return []
        case _:
            return [wire.Error(str(over))]


@dataclass(frozen=True, slots=True)
class Start:
    """How a stream begins."""

    opened: Opened
    place: Place
    greetings: tuple[wire.ToClient, ...]


async def _stream(request: web.Request) -> web.StreamResponse:
    """One stream, from its headers to the last word."""
    app = request.app
    async with admitted(request, DOOR) as caller:
        with refusing():
            conversation = address.conversation(request.query)
        async with app[LIMITS].session(caller, partial(is_there, app[BACKEND], caller, conversation)) as room:
            return await _listen(request, caller, conversation, room)


async def _listen(request: web.Request, caller: Caller, conversation: str, room: Room) -> web.StreamResponse:
    app, backend = request.app, request.app[BACKEND]
    output, unread = read_output(request.query, LIVE_FORMATS)
    with refusing():
        start = await _start(request, caller, conversation)
    if start is None:
        return web.Response(status=204)  # an EventSource dials again after everything but this
    stream = WatchStream(send_timeout_s=app[SETTINGS].send_timeout_s, grace_s=app[SETTINGS].grace_s)
    async with on_the_way(backend, start.opened):
        response = await stream.open(request)
    connection = _listener(request, stream, start)
    paced = Paced(connection, stream) if read_paced(request.query, default=False) else None
    for error in unread:
        connection.trouble(error)
    with app[CONNECTIONS].joined(connection):
        await connection.run(
            downlink(connection, lambda told, item: _frame(told, item, start.opened.session), output, paced),
            room.is_for(start.opened.session.sid),
        )
    return response


async def _start(request: web.Request, caller: Caller, conversation: str) -> Start | None:
    """None when the client wants to go on with what is over, or what a newer stream has. Raises StreamUnavailable."""
    if was_replaced(request):
        return None
    backend = request.app[BACKEND]
    started = wire.ConversationStarted(conversation)
    heard = address.last_event(request.headers.get("Last-Event-ID"))
    if heard is None:
        history = address.history_in_address(request.query.get("history", ""))
        opened = await take(backend, request.app[METRICS], caller, conversation, history)
        async with on_the_way(backend, opened):
            return Start(opened, await place_of(backend, opened), (started,))
    session = await backend.sessions.find(caller.user_or(ANYBODY), conversation)
    if session is None or heard.sid not in (None, session.sid):
        return None
    again = await resume(backend, session.sid)
    if again is None:
        return None
    async with on_the_way(backend, again):
        begins = await resync_from(backend.redis, session, heard.did)
    if begins is None:
        return Start(again, Place(heard.did, ClientSession()), (started,))
    resync = wire.Resync(str(heard.did), str(begins))
    return Start(again, Place(min(heard.did, just_before(begins)), ClientSession()), (started, resync))


def _listener(request: web.Request, stream: WatchStream, start: Start) -> Connection:
    backend = request.app[BACKEND]
    connection = Connection(
        DOOR,
        stream,
        start.opened,
        backend,
        request.app[METRICS],
        _error_frame,
        place=start.place,
        max_waiting_bytes=0,  # nothing is said over it
        way=Listening(asks=True),
    )
    for greeting in start.greetings:
        connection.outbox.reply(_frame(greeting))
    return connection


def _frame(told: wire.ToClient, item: str | None = None, session: Session | None = None) -> Frame:
    """Where the session is named, the event has an id when it is the last of its entry."""
    prefix = "" if session is None else address.event_id_prefix(session.sid)
    return Frame(wire.kind(told), told.line.encode(), item, prefix=prefix)


def _error_frame(error: DoorError) -> Frame:
    return _frame(wire.Error(str(error)))


# ---- up: the endless body -------------------------------------------------------------------------------------------


class Upload:
    """One body on its way into a session; several go side by side: one whose client is gone must not hold up the next."""

    door = DOOR

    def __init__(self, backend: Backend, session: Session, allowance: Allowance) -> None:
        self._allowance = allowance
        self._uplink = LiveUplink(backend, session, SessionLogger(logger, session.sid), known=False)
        self._uplink.on_stored = self._stored
        self._uplink.on_over = lambda: self._end(NoConversation())
        self._uplink.worker.add_done_callback(lambda _: self._moved.set())
        self._waiting: deque[int] = deque()
        """the sizes of what is not stored yet, in order"""
        self._waiting_bytes = 0
        self._moved = asyncio.Event()
        self._ended: asyncio.Future[DoorError] = asyncio.get_running_loop().create_future()
        """why no more is taken"""
        self._leaves: asyncio.Future[NotNow] = asyncio.get_running_loop().create_future()

    def over(self, why: ConnectionOver) -> None:
        """The process stops: say so, and take what the client says until it has heard of it."""
        if not self._leaves.done():
            self._leaves.set_result(NotNow(str(why)))

    async def run(self, body: AsyncIterator[bytes], goodbye: Callable[[NotNow], Awaitable[None]]) -> None:
        """Store all of it. Returns when that is done, or the client was told `goodbye`; raises NoConversation, NotNow, and
        what the body raises."""
        reading = asyncio.create_task(self._read(body), name="gateway.upload")
        try:
            ends: set[asyncio.Future[Any]] = {reading, self._uplink.worker, self._ended}
            done, _ = await asyncio.wait({*ends, self._leaves}, return_when=asyncio.FIRST_COMPLETED)
            if done == {self._leaves}:
                await goodbye(self._leaves.result())
                await asyncio.wait(ends, timeout=HEARS_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
                return
        finally:
            await to_its_end(self._leave(reading))
        if self._ended.done():
            raise self._ended.result()
        if self._uplink.worker.cancelled() or self._uplink.worker.exception() is not None:
            raise NotNow
        reading.result()

    async def _leave(self, reading: asyncio.Task[None]) -> None:
        """Store what was read. The session is not ours to end: it is the stream's."""
        reading.cancel()
        await asyncio.gather(
            reading, return_exceptions=True
        )  # that it broke off is no news when this ends for another reason
        await self._uplink.leave()

    async def _read(self, body: AsyncIterator[bytes]) -> None:
        carry = b""
        async for data in body:
            data = carry + data
            whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
            carry = data[whole:]
            for at in range(0, whole, JOINED_BYTES):
                await self._say(data[at : min(at + JOINED_BYTES, whole)])

    async def _say(self, audio: bytes) -> None:
        """Returns when there is room for more. Whoever sends faster than anybody talks is read no faster."""
        while (wait_s := self._allowance.wait_s(seconds_of(audio), time.monotonic())) > 0:  # noqa: ASYNC110 - time is awaited
            await asyncio.sleep(wait_s)
        self._allowance.take(seconds_of(audio), time.monotonic())
        while self._waiting_bytes > WAITING_BYTES or not self._has_said(audio):
            self._moved.clear()
            await self._moved.wait()

    def _has_said(self, audio: bytes) -> bool:
        try:
            self._uplink.say(pcm.Audio(audio))
        except Busy:
            return False
        except NotStored:
            return True  # the end is near, and says why
        self._waiting.append(len(audio))
        self._waiting_bytes += len(audio)
        return True

    def _stored(self, number: int) -> None:
        self._waiting_bytes -= self._waiting.popleft()
        self._moved.set()

    def _end(self, why: DoorError) -> None:
        if not self._ended.done():
            self._ended.set_result(why)


async def _upload(request: web.Request) -> web.StreamResponse:
    app, backend = request.app, request.app[BACKEND]
    async with admitted(request, DOOR) as caller:
        with refusing():
            conversation = address.conversation(request.query)
            session = await _awaited(backend, caller.user_or(ANYBODY), conversation)
            upload = Upload(backend, session, app[LIMITS].allowance(session.sid))
            told = list[web.Response]()

            async def goodbye(why: NotNow) -> None:
                told.append(answer(request, why))
                with gone_is_left():
                    await told[0].prepare(request)
                    await told[0].write_eof()

            with app[CONNECTIONS].joined(upload):
                async with aclosing(chunks(request, max_bytes=None, idle_s=UPLOAD_IDLE_S)) as body:
                    await upload.run(body, goodbye)
    return told[0] if told else web.Response(text="OK")


async def _awaited(backend: Backend, user: str, conversation: str) -> Session:
    """The session of this conversation; a stream that was sent before may arrive a little later. Raises NoConversation."""
    until = asyncio.get_running_loop().time() + WAIT_FOR_STREAM_S
    while (session := await backend.sessions.find(user, conversation)) is None:
        if asyncio.get_running_loop().time() >= until:
            raise NoConversation
        await asyncio.sleep(LOOK_EVERY_S)
    return session


# ---- the end --------------------------------------------------------------------------------------------------------


async def _end(request: web.Request) -> web.StreamResponse:
    backend = request.app[BACKEND]
    with refusing():
        caller = await admit(request, DOOR)
        conversation = address.conversation(request.query)
        session = await backend.sessions.find(caller.user_or(ANYBODY), conversation)
        if session is not None:
            await end(backend, session)
    return web.Response(body=msgspec.json.encode({"success": True}), content_type="application/json")
