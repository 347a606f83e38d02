"""❶❽ The watch app on the phone: JSON over a WebSocket, `GET /realtime`. One conversation at a time, many on one socket.

The socket outlives its conversations, so each has a `Connection` of its own. What ends a conversation (the model, the
client) leaves the socket open for the next; what ends the connection (the client has left, a newer one has the conversation,
this process stops) ends both.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial

from aiohttp import web

from gateway.admission import admitted
from gateway.allowance import Allowance, seconds_of
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.caller import Caller
from gateway.connections import Connection
from gateway.consent import when_said
from gateway.doors import watch_messages as wire
from gateway.doors.watch_conversation import DOOR, REASON, downlink, end, is_there, take
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    DoorError,
    InvalidMessage,
    Refused,
    RequestRefused,
    SessionEnded,
    SessionFailed,
    SessionGone,
    SlowClient,
    Unavailable,
    UnknownType,
)
from gateway.goodbye import to_its_end
from gateway.limits import Room
from gateway.live_uplink import LiveUplink
from gateway.outbox import Frame
from gateway.output import Output
from gateway.place import on_the_way, place_of
from gateway.transports.websocket import Binary, TextSocket
from runtime.logs import SessionLogger
from streams import pcm
from streams.dispatch import is_handed_out
from streams.errors import StreamUnavailable
from streams.messages import End
from streams.up import JOINED_BYTES

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 << 20
"""A larger frame breaks the connection (1009). Live audio comes in pieces; this is a minute of it in base64."""


class Line:
    """The socket as one conversation has it: what ends the conversation does not end the socket."""

    def __init__(self, socket: TextSocket, conversation: str) -> None:
        self._socket, self._conversation = socket, conversation
        self.ended_by: ConnectionOver = ClientLeft()
        self.on_pong: Callable[[bytes], None] | None = None
        self.on_closed: Callable[[], list[Frame]] = list
        """called when nothing more is written from the outbox; gives what is left in it"""
        socket.on_pong = self._pong

    def frame(self, told: wire.ToClient, item: str | None = None) -> Frame:
        return Frame(wire.kind(told), wire.to_phone(told, self._conversation), item)

    async def write(self, frame: Frame) -> None:
        await self._socket.write(frame)

    async def ping(self, payload: bytes) -> None:
        await self._socket.ping(payload)

    async def depart(self, over: ConnectionOver) -> None:
        await self._socket.depart(over)

    async def close(self, over: ConnectionOver) -> None:
        self.ended_by = over
        left = self.on_closed()
        if self.is_over:  # why it failed was told by the bridge
            try:
                for frame in (*left, self.frame(wire.ConversationEnded())):
                    await self.write(frame)
            except (ClientLeft, SlowClient) as worse:
                self.ended_by = worse

    @property
    def is_over(self) -> bool:
        """Whether it is the conversation that has ended, and not the connection."""
        return isinstance(self.ended_by, SessionEnded | SessionFailed | SessionGone)

    def _pong(self, payload: bytes) -> None:
        if self.on_pong is not None:
            self.on_pong(payload)


class Talk:
    """The conversation that a phone has now."""

    def __init__(self, line: Line, connection: Connection, uplink: LiveUplink, allowance: Allowance, output: Output) -> None:
        self.line, self.connection, self._uplink, self._allowance = line, connection, uplink, allowance
        self.output = output
        """in what it is heard"""
        self._carry = b""
        """half a sample that waits for its other half"""
        self._has_spoken = uplink.is_known
        self.given_up = False
        """the phone goes on with another one"""

    def say(self, audio: bytes) -> None:
        """Raises Busy, NotStored, TooFast."""
        self._allowance.take(seconds_of(audio), time.monotonic())
        data = self._carry + audio
        whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
        self._carry = data[whole:]
        for at in range(0, whole, JOINED_BYTES):
            self._uplink.say(pcm.Audio(data[at : min(at + JOINED_BYTES, whole)]))
            self._has_spoken = True

    def end(self) -> bool:
        """End it behind what was said. False when nothing was said, as far as this connection knows."""
        if self._has_spoken:
            self._uplink.say(End(REASON, after_answer=True))
        return self._has_spoken


class Phone:
    """One connected phone. `run` is its life."""

    door = DOOR

    def __init__(self, app: web.Application, caller: Caller, socket: TextSocket) -> None:
        self._app, self._backend, self._metrics = app, app[BACKEND], app[METRICS]
        self._caller, self._socket = caller, socket
        self._talk: Talk | None = None
        self._has_talked = False
        self._talking: asyncio.Task[None] | None = None
        self._told: asyncio.Future[ConnectionOver] = asyncio.get_running_loop().create_future()

    def over(self, why: ConnectionOver) -> None:
        """End the connection soon; the conversation waits for its client."""
        if not self._told.done():
            self._told.set_result(why)

    async def run(self) -> None:
        """Be there until the phone has left, or is told to."""
        over = ConnectionOver("Something went wrong here. Please connect again.")
        try:
            over = await self._until_over()
        except asyncio.CancelledError:
            over = ClientLeft()
            raise
        finally:
            await to_its_end(self._socket.close(over))

    async def _until_over(self) -> ConnectionOver:
        first: BaseException = ClientLeft()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._uplink(tasks), name="gateway.phone")
                tasks.create_task(self._end_when_told(), name="gateway.phone")
        except* ConnectionOver as group:
            first = group.exceptions[0]
        assert isinstance(first, ConnectionOver)
        return first

    async def _end_when_told(self) -> None:
        """A conversation is left in good order first: it knows what the phone has heard."""
        over = await self._told
        if self._talk is not None and self._talking is not None:
            self._talk.connection.over(over)
            await asyncio.wait([self._talking])
        raise over

    async def _uplink(self, tasks: asyncio.TaskGroup) -> None:
        """Read all that the phone says until it leaves. What is wrong with a message is told, and the next one works."""
        await self._socket.write(_frame(wire.SessionCreated()))  # it says nothing before it has heard this
        received = self._metrics.messages
        async with aclosing(self._socket.received_any()) as frames:
            async for frame in frames:
                try:
                    if isinstance(frame, Binary):
                        received.labels(DOOR, "received", "binary").inc()
                        self._hear(frame.data)
                        continue
                    said = wire.decode(frame)
                    received.labels(DOOR, "received", wire.kind(said)).inc()
                    await self._take(said, tasks)
                except Refused as error:
                    if isinstance(error, InvalidMessage | UnknownType):
                        received.labels(DOOR, "received", "refused").inc()
                    await self._trouble(error)
        raise ClientLeft

    async def _take(self, said: wire.Said, tasks: asyncio.TaskGroup) -> None:
        match said:
            case wire.StartConversation():
                await self._start(said, tasks)
            case wire.AudioChunk():
                self._hear(said.bytes())
            case wire.EndConversation():
                await self._end()
            case wire.Ping():
                await self._tell(wire.Pong())

    def _hear(self, audio: bytes) -> None:
        if self._talk is not None:
            self._talk.say(audio)
        elif not self._has_talked:  # else it was on its way when the conversation ended
            raise InvalidMessage(wire.NOT_STARTED)

    async def _start(self, said: wire.StartConversation, tasks: asyncio.TaskGroup) -> None:
        """Begin a conversation, or go on with one; the one before is left as if the line had broken."""
        await self._give_up()
        stack = AsyncExitStack()
        resumes = partial(is_there, self._backend, self._caller, said.conversationId)
        try:
            room = await stack.enter_async_context(self._app[LIMITS].session(self._caller, resumes))
        except RequestRefused as error:
            await self._trouble(error)
            return
        async with stack:
            talk = await self._begin(said)
            self._talk, self._has_talked = talk, True
            name = f"gateway.phone {talk.connection.session.sid}"
            self._talking = tasks.create_task(self._converse(talk, room, stack.pop_all()), name=name)

    async def _begin(self, said: wire.StartConversation) -> Talk:
        try:
            caller = replace(self._caller, recorded_by=when_said(self._caller.recorded_by, said.record))
            opened = await take(self._backend, self._metrics, caller, said.conversationId, said.history)
            async with on_the_way(self._backend, opened):
                place = await place_of(self._backend, opened)
                known = opened.resumed and await is_handed_out(self._backend.redis, opened.session, "bridge")
        except StreamUnavailable:
            await self._trouble(Unavailable())
            raise Unavailable from None
        line = Line(self._socket, said.conversationId)
        log = SessionLogger(logger, opened.session.sid)
        uplink = LiveUplink(self._backend, opened.session, log, known=known, held=opened.attachment.value)
        connection = Connection(
            DOOR,
            line,
            opened,
            self._backend,
            self._metrics,
            lambda error: line.frame(wire.Error(str(error))),
            place=place,
            max_waiting_bytes=0,  # `LiveUplink` has bounds of its own
            way=uplink,
        )
        uplink.on_over = lambda: connection.downlink.look_again()  # which `listen` replaces
        connection.outbox.reply(line.frame(wire.ConversationStarted(said.conversationId)))
        talk = Talk(line, connection, uplink, self._app[LIMITS].allowance(opened.session.sid), said.output)
        line.on_closed = lambda: self._let_go(talk)
        return talk

    async def _converse(self, talk: Talk, room: Room, held: AsyncExitStack) -> None:
        """One conversation, to its end. Raises why the connection ends, if it does."""
        async with held:
            sid = talk.connection.session.sid
            await talk.connection.run(downlink(talk.connection, talk.line.frame, talk.output), room.is_for(sid))
        if not (talk.line.is_over or talk.given_up):
            raise talk.line.ended_by

    def _let_go(self, talk: Talk) -> list[Frame]:
        """It is over: what the phone is told from now on goes to the socket. Gives the replies that it has not written."""
        self._talk = None
        return talk.connection.outbox.rest()

    async def _give_up(self) -> None:
        if self._talk is not None:
            self._talk.given_up = True
            self._talk.connection.over(ClientLeft())
        if self._talking is not None:
            await asyncio.wait([self._talking])

    async def _end(self) -> None:
        """With nothing to end, it has ended: the phone may say so twice."""
        talk = self._talk
        if talk is None:
            await self._tell(wire.ConversationEnded())
        elif not talk.end():
            try:
                await end(self._backend, talk.connection.session)
            except StreamUnavailable:
                await self._trouble(Unavailable())

    async def _tell(self, told: wire.ToClient) -> None:
        """Say it at once. Raises SlowClient, ClientLeft."""
        if self._talk is not None:
            self._talk.connection.outbox.reply(self._talk.line.frame(told))
        else:
            await self._socket.write(_frame(told))

    async def _trouble(self, error: DoorError) -> None:
        if self._talk is not None:
            self._talk.connection.trouble(error)
        else:
            self._metrics.errors.labels(DOOR, error.code).inc()
            await self._tell(wire.Error(str(error)))


async def converse(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    app = request.app
    async with admitted(request, DOOR) as caller:
        socket = TextSocket(max_message_bytes=MAX_MESSAGE_BYTES, send_timeout_s=app[SETTINGS].send_timeout_s)
        response = await socket.open(request)
        phone = Phone(app, caller, socket)
        with app[CONNECTIONS].joined(phone):
            await phone.run()
        return response


def _frame(told: wire.ToClient) -> Frame:
    """Of what is about no conversation."""
    return Frame(wire.kind(told), wire.to_phone(told, None))
