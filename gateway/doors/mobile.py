"""❶❽ The React Native app: JSON over WebSocket; whole recordings up, or one as it is made; PCM16, WAV, Opus or AAC down.

This door's clients in the field send no token, and number nothing: the address alone says whose the session is. One that
sends a token is its user, and the address names a conversation of that user's. A connection that drops leaves its session
waiting for a redial, and what was not known to have arrived is said again.

They cannot take back what they have been sent, so that they are sent it at the pace at which it is heard. One that can says
so (`?paced=0`): it gets it as it is generated, and is told when it is void (`interrupted`).
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

import msgspec
from aiohttp import web

from gateway.admission import Caller, admitted
from gateway.allowance import Allowance, seconds_of
from gateway.answers import AnswerFailed, Answers, Gathered, Spoken, SpokenPackets, SpokenWhole, Written
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.connections import Connection
from gateway.doors import mobile_messages as wire
from gateway.doors.texts import take_texts
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    DoorError,
    EmptyAudio,
    InvalidMessage,
    SlowClient,
    Unavailable,
)
from gateway.limits import Room
from gateway.live_uplink import LiveUplink
from gateway.naming import is_known, open_session
from gateway.outbox import Frame
from gateway.output import DEFAULT, Output, Wrapping
from gateway.paced import Paced
from gateway.place import on_the_way, place_of
from gateway.replay import numbers
from gateway.session import Persona, Recording, Speech
from gateway.settings import GatewaySettings
from gateway.transports.websocket import TextSocket
from gateway.wav import wav
from runtime.logs import SessionLogger
from streams import down, pcm, turns, up
from streams.errors import StreamUnavailable
from streams.messages import SetPersona
from streams.sessions import now_ms

logger = logging.getLogger(__name__)

DOOR = "mobile"

STREAM = "stream"
"""The input format, and the `source` of what comes so."""

MAX_USER_CHARS = 256

MAX_MESSAGE_BYTES = 32 << 20
"""A larger frame breaks the connection (1009): whatever is below it can be read, and refused by name."""

_JSON_ROOM_BYTES = 64 << 10
"""For what is around the base64 of the largest recording."""

WAITING_RECORDINGS = 2
"""Recordings of the largest size that one connection may have waiting for Redis."""


def routes() -> list[web.RouteDef]:
    return [web.get("/ws-mobile/{user_id}", _converse)]


@dataclass(slots=True)
class Phone:
    """One connected app."""

    socket: TextSocket
    connection: Connection
    answers: Answers
    input_format: wire.InputFormat
    max_file_bytes: int
    allowance: Allowance
    wants: Output
    """in what the next answer is to be heard"""
    paced: Paced | None = None
    """None: the app can take back what it has, and is told when"""
    wrapping: Wrapping = field(default_factory=Wrapping)
    live: LiveUplink | None = None
    """what the client says comes in chunks, as they are made"""

    def put(self, audio: bytes) -> None:
        """Have it said to the model. Raises EmptyAudio, TooFast, Busy, NotStored."""
        if self.live is not None:
            self.live.say(up.Chunk(audio))
        else:
            self.connection.uplink.put(_recording(audio, self))

    def become(self, persona: str) -> None:
        """Have the model be this persona. Raises Busy, NotStored."""
        if self.live is not None:
            self.live.say(SetPersona(persona))
        else:
            self.connection.uplink.put(Persona(persona))

    def take(self, input_format: wire.InputFormat) -> None:
        """What comes next is this. Raises InvalidMessage: turns are found in another way in chunks."""
        if (input_format == "stream") != (self.live is not None):
            raise InvalidMessage(
                "Chunks of a recording and whole recordings do not go over one connection: "
                "connect again, with input_format=stream in the address or without."
            )
        self.input_format = input_format

    @property
    def hears(self) -> Output:
        """In what answers are heard now."""
        return self.wrapping.output

    def reply(self, message: wire.ToClient) -> None:
        """Say it at once. Raises SlowClient."""
        self.connection.outbox.reply(_frame(message))

    def want(self, output: Output) -> None:
        """Hear answers so that begin later."""
        self.wants = output
        if output.codec == self.hears.codec:
            self.wrapping.output = output
            self.answers.whole = output.audio_format == "wav"

    async def listen(self) -> None:
        """Hear answers as they are wanted. Raises SessionGone, Unavailable."""
        self.wrapping.output = self.wants
        self.answers.whole = self.hears.audio_format == "wav"
        self.wrapping.before = await self.connection.listen(self.hears.codec, self.hears.coding)

    async def say(self, message: wire.ToClient) -> None:
        """Say it when there is room."""
        await self.connection.outbox.put(_frame(message))

    async def play(self, item: str | None, audio: bytes, plays_s: float) -> None:
        """Have it played; it is dropped when its item is interrupted before. Of 0 s: what cannot be paced."""
        frame = _frame(wire.audio_response(audio), item)
        if self.paced is None or not plays_s:
            await self.connection.outbox.put(frame)
        else:
            await self.paced.put(frame, plays_s)

    def void(self, item: str) -> None:
        """No more of this item is said."""
        self.answers.hear(down.Interrupted(item, 0, 0))
        if self.paced is not None:
            self.paced.void(item)


async def uplink(phone: Phone) -> None:
    """Take all that the app says until it leaves."""
    await take_texts(phone.socket, phone.connection, wire.decode, wire.kind, partial(_take, phone))


def _take(phone: Phone, message: wire.Audio | wire.Config | wire.Ping) -> None:
    match message:
        case wire.Ping():
            phone.reply(wire.Pong())
        case wire.Audio(base64):
            data = wire.audio_bytes(base64, max_bytes=phone.max_file_bytes)
            phone.put(data)
        case wire.Config(persona, _, input_format):
            if input_format is not None:
                phone.take(input_format)
            if persona is not None:
                phone.become(persona)
            phone.want(phone.wants.changed(message))
            if persona is None:
                phone.reply(wire.ConfigAck(None, "The settings are taken."))


def _recording(data: bytes, phone: Phone) -> Recording | Speech:
    """Raises EmptyAudio, TooFast."""
    if phone.input_format == "auto":
        return Recording(data, now_ms())
    whole = data[: len(data) // pcm.BYTES_PER_SAMPLE * pcm.BYTES_PER_SAMPLE]
    if not whole:
        raise EmptyAudio
    phone.allowance.take(seconds_of(whole), time.monotonic())
    return Speech(whole, now_ms())


async def downlink(phone: Phone) -> None:
    """Say all that the model says, in order, until the session ends."""
    try:
        while True:
            if phone.wants.codec != phone.hears.codec:
                await phone.listen()
            await _say_alike(phone)
    except ConnectionOver as over:
        phone.connection.outbox.finish(over)  # what was said last is sent before the goodbye


async def _say_alike(phone: Phone) -> None:
    """Say what is said, until an answer begins that is to be heard in another codec: that is read there."""
    connection = phone.connection
    async with aclosing(connection.downlink.entries()) as entries:
        async for entry in entries:
            is_sound = isinstance(entry.message, down.Audio | down.Coded)
            if is_sound and phone.answers.is_idle and phone.wants.codec != phone.hears.codec:
                return
            await _tell(phone, entry.message)
            connection.heard = entry.id
            if not phone.answers.holds_back:
                connection.said(entry.id)


async def _tell(phone: Phone, message: down.DownMessage) -> None:
    connection = phone.connection
    match message:
        case down.PersonaSet(persona):
            await phone.say(wire.ConfigAck(persona, f"You are now talking to {persona}."))
        case down.Failed(message=sentence):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
            await phone.say(wire.Error(sentence))
        case down.Notice(message=sentence):
            await phone.say(wire.Error(sentence))
        case down.Interrupted(item=item, at_ms=at_ms):
            connection.void(item)
            if phone.paced is None:
                await phone.say(wire.Interrupted(item, at_ms))
    try:
        gathered = phone.answers.hear(message)
    except msgspec.DecodeError as error:
        connection.log.error("an event of the model's is passed over: %s", error)
        return
    for part in gathered:
        await _tell_part(phone, part)


async def _tell_part(phone: Phone, part: Gathered) -> None:
    match part:
        case Spoken(item, audio):
            await phone.play(item, audio, len(audio) / pcm.BYTES_PER_SAMPLE / phone.hears.output_rate)
        case SpokenPackets(item, index, audio, packets):
            await phone.play(item, phone.wrapping.wrapped(item, index, audio, packets), packets.seconds)
        case SpokenWhole(item, audio):
            await phone.play(item, wav(audio, phone.hears.output_rate), 0)
        case Written(text):
            await phone.say(wire.TextResponse(text))
        case AnswerFailed(sentence):
            phone.connection.metrics.errors.labels(DOOR, "upstream").inc()
            await phone.say(wire.Error(sentence))


async def _converse(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    async with admitted(request, DOOR) as caller:
        user = caller.user_or(user_of(request))
        conversation = _conversation(request)
        async with request.app[LIMITS].session(caller, partial(resumes, request, user, conversation)) as room:
            return await _converse_in(request, caller, user, conversation, room)


async def resumes(request: web.Request, user: str, conversation: str) -> bool:
    try:
        return await is_known(request.app[BACKEND], user, conversation)
    except StreamUnavailable:
        return True  # that is told after the handshake


async def _converse_in(request: web.Request, caller: Caller, user: str, conversation: str, room: Room) -> web.StreamResponse:
    app, settings = request.app, request.app[SETTINGS]
    socket = _socket(settings)
    response = await socket.open(request)
    asked = wire.read_query(request.query)
    opened = turns.Opened(user=user, door=DOOR, persona=asked.persona, turn_mode="utterance", recorded_by=caller.recorded_by)
    if asked.input_format == STREAM:
        opened = msgspec.structs.replace(opened, turn_mode="server_vad", input=STREAM)
    try:
        mine = await open_session(app[BACKEND], opened, conversation, newest_wins=caller.user is not None)
        async with on_the_way(app[BACKEND], mine):
            place = await place_of(app[BACKEND], mine)
            known = (await numbers(app[BACKEND].redis, mine.session, "up")).known
    except StreamUnavailable:
        app[METRICS].errors.labels(DOOR, Unavailable.code).inc()
        with suppress(ClientLeft, SlowClient):
            await socket.send(_error_frame(Unavailable()).data)
        await socket.close(Unavailable())
        return response
    app[METRICS].sessions.labels(DOOR).inc()
    sid, live = mine.session.sid, None
    if asked.input_format == STREAM:
        held, log = mine.attachment.value, SessionLogger(logger, sid)
        live = LiveUplink(app[BACKEND], mine.session, log, known=known, route="up", held=held)
    connection = Connection(
        DOOR,
        socket,
        mine,
        app[BACKEND],
        app[METRICS],
        _error_frame,
        place=place,
        max_waiting_bytes=WAITING_RECORDINGS * settings.max_file_bytes,
        way=live,
    )
    if live is not None:
        live.on_over = lambda: connection.downlink.look_again()  # which `listen` replaces
    allowance = app[LIMITS].allowance(sid)
    phone = Phone(socket, connection, Answers(), asked.input_format, settings.max_file_bytes, allowance, DEFAULT, live=live)
    phone.want(asked.output)
    phone.paced = Paced(connection, socket) if asked.paced else None
    connection.on_void, connection.stopping.flushes = phone.void, not asked.paced
    for error in asked.errors:
        connection.trouble(error)
    with app[CONNECTIONS].joined(connection):
        await connection.run(uplink(phone), downlink(phone), room.is_for(sid))
    return response


def _conversation(request: web.Request) -> str:
    """What the session is called. One that takes a recording in chunks takes no whole ones, and is another."""
    streams = request.query.get("input_format") == STREAM
    return f"{STREAM}/{user_of(request)}" if streams else user_of(request)


def user_of(request: web.Request) -> str:
    """Who the address says it is. Raises HTTPBadRequest."""
    user = request.match_info["user_id"]
    try:
        user.encode()
    except UnicodeEncodeError:
        raise web.HTTPBadRequest(text="The user id in the address is not UTF-8.") from None
    if not 1 <= len(user) <= MAX_USER_CHARS:
        raise web.HTTPBadRequest(text=f"The user id in the address must have 1 to {MAX_USER_CHARS} characters.")
    return user


def _socket(settings: GatewaySettings) -> TextSocket:
    largest = settings.max_file_bytes * 4 // 3 + _JSON_ROOM_BYTES
    return TextSocket(max_message_bytes=max(MAX_MESSAGE_BYTES, largest), send_timeout_s=settings.send_timeout_s)


def _frame(message: wire.ToClient, item: str | None = None) -> Frame:
    return Frame(wire.kind(message), wire.encode(message), item)


def _error_frame(error: DoorError) -> Frame:
    return _frame(wire.Error(str(error)))
