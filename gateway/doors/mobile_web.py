"""❶❽ The mobile door's sibling for browsers: JSON over WebSocket; the chunks of a MediaRecorder up, PCM16, Opus or AAC down.

The chunks are one recording, cut anywhere, whose header is in the first; a recorder that is started again sends another one.
The model finds the turns. As at the mobile door there is no token, and a connection that drops leaves its session waiting.
"""

from __future__ import annotations

import logging
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

import msgspec
from aiohttp import web

from gateway.admission import Caller, admitted
from gateway.answers import AnswerFailed, Answers, Spoken, SpokenPackets
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.connections import Connection
from gateway.doors import mobile_web_messages as wire
from gateway.doors.mobile import resumes, user_of
from gateway.doors.texts import take_texts
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    DoorError,
    SlowClient,
    Unavailable,
)
from gateway.limits import Room
from gateway.live_uplink import LiveUplink
from gateway.naming import open_session
from gateway.outbox import Frame
from gateway.output import LIVE_FORMATS, Wrapping, read_output, read_paced
from gateway.paced import Paced
from gateway.place import on_the_way, place_of
from gateway.replay import numbers
from gateway.transports.websocket import TextSocket
from runtime.logs import SessionLogger
from streams import down, pcm, turns, up
from streams.errors import StreamUnavailable

logger = logging.getLogger(__name__)

DOOR = "web"

MAX_CHUNK_BYTES = 16 << 20
"""A recorder that was held up sends all that it has in one."""

MAX_MESSAGE_BYTES = 32 << 20
"""A larger frame breaks the connection (1009): whatever is below it can be read, and refused by name."""

NO_LIMIT = 0
"""Of bytes that wait in an `Uplink`: this door has a way of its own."""


def routes() -> list[web.RouteDef]:
    return [web.get("/ws/{user_id}", _converse)]


@dataclass(slots=True)
class Page:
    """One connected page."""

    socket: TextSocket
    connection: Connection
    uplink: LiveUplink
    answers: Answers
    wrapping: Wrapping
    paced: Paced | None
    """None: the page can take back what it has, and is told when"""

    async def play(self, item: str, audio: bytes, plays_s: float) -> None:
        """Have it played; it is dropped when its item is interrupted before."""
        frame = _frame(wire.audio_response(audio, self.wrapping.output), item)
        if self.paced is None:
            await self.connection.outbox.put(frame)
        else:
            await self.paced.put(frame, plays_s)

    def void(self, item: str) -> None:
        """No more of this item is said."""
        self.answers.hear(down.Interrupted(item, 0, 0))
        if self.paced is not None:
            self.paced.void(item)


async def uplink(page: Page) -> None:
    """Take all that the page says until it leaves."""
    await take_texts(page.socket, page.connection, wire.decode, wire.kind, partial(_take, page))


def _take(page: Page, message: wire.Audio | wire.Ping) -> None:
    match message:
        case wire.Ping():
            page.connection.outbox.reply(_frame(wire.Pong()))
        case wire.Audio(data):
            if chunk := wire.chunk(data, max_bytes=MAX_CHUNK_BYTES):
                page.uplink.say(up.Chunk(chunk))


async def downlink(page: Page) -> None:
    """Say all that the model says, in order, until the session ends."""
    connection, output = page.connection, page.wrapping.output
    try:
        if output.codec is not None:
            page.wrapping.before = await connection.listen(output.codec, output.coding)
        async with aclosing(connection.downlink.entries()) as entries:
            async for entry in entries:
                await _tell(page, entry.message)
                connection.said(entry.id)
    except ConnectionOver as over:
        connection.outbox.finish(over)  # what was said last is sent before the goodbye


async def _tell(page: Page, message: down.DownMessage) -> None:
    connection = page.connection
    match message:
        case down.Failed(message=sentence):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
            await connection.outbox.put(_frame(wire.Error(sentence)))
        case down.Notice(message=sentence):
            await connection.outbox.put(_frame(wire.Error(sentence)))
        case down.Interrupted(item=item, at_ms=at_ms):
            connection.void(item)
            if page.paced is None:
                await connection.outbox.put(_frame(wire.Interrupted(item, at_ms)))
    try:
        gathered = page.answers.hear(message)
    except msgspec.DecodeError as error:
        connection.log.error("an event of the model's is passed over: %s", error)
        return
    for part in gathered:
        match part:
            case Spoken(item, audio):
                await page.play(item, audio, len(audio) / pcm.BYTES_PER_SAMPLE / page.wrapping.output.output_rate)
            case SpokenPackets(item, index, audio, packets):
                await page.play(item, page.wrapping.wrapped(item, index, audio, packets), packets.seconds)
            case AnswerFailed(sentence):
                connection.metrics.errors.labels(DOOR, "upstream").inc()
                await connection.outbox.put(_frame(wire.Error(sentence)))


async def _converse(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    async with admitted(request, DOOR) as caller:
        # A name of its own: a session of the mobile door takes whole recordings, and stays so.
        conversation = f"ws/{user_of(request)}"
        user = caller.user_or(user_of(request))
        async with request.app[LIMITS].session(caller, partial(resumes, request, user, conversation)) as room:
            return await _converse_in(request, caller, user, conversation, room)


async def _converse_in(request: web.Request, caller: Caller, user: str, conversation: str, room: Room) -> web.StreamResponse:
    app, backend = request.app, request.app[BACKEND]
    socket = TextSocket(max_message_bytes=MAX_MESSAGE_BYTES, send_timeout_s=app[SETTINGS].send_timeout_s)
    response = await socket.open(request)
    opened = turns.Opened(user=user, door=DOOR, turn_mode="server_vad", input="stream", recorded_by=caller.recorded_by)
    try:
        mine = await open_session(backend, opened, conversation, newest_wins=caller.user is not None)
        async with on_the_way(backend, mine):
            place = await place_of(backend, mine)
            known = (await numbers(backend.redis, mine.session, "up")).known
    except StreamUnavailable:
        app[METRICS].errors.labels(DOOR, Unavailable.code).inc()
        with suppress(ClientLeft, SlowClient):
            await socket.send(_error_frame(Unavailable()).data)
        await socket.close(Unavailable())
        return response
    app[METRICS].sessions.labels(DOOR).inc()
    sid = mine.session.sid
    held, log = mine.attachment.value, SessionLogger(logger, sid)
    live = LiveUplink(backend, mine.session, log, known=known, route="up", held=held)
    connection = Connection(
        DOOR,
        socket,
        mine,
        backend,
        app[METRICS],
        _error_frame,
        place=place,
        max_waiting_bytes=NO_LIMIT,
        way=live,
    )
    live.on_over = lambda: connection.downlink.look_again()  # which `listen` replaces
    output, unread = read_output(request.query, LIVE_FORMATS)
    paced = Paced(connection, socket) if read_paced(request.query, default=True) else None
    page = Page(socket, connection, live, Answers(), Wrapping(output), paced)
    connection.on_void, connection.stopping.flushes = page.void, paced is None
    for error in unread:
        connection.trouble(error)
    with app[CONNECTIONS].joined(connection):
        await connection.run(uplink(page), downlink(page), room.is_for(sid))
    return response


def _frame(message: wire.ToClient, item: str | None = None) -> Frame:
    return Frame(wire.kind(message), wire.encode(message), item)


def _error_frame(error: DoorError) -> Frame:
    return _frame(wire.Error(str(error)))
