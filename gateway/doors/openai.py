"""❶❽ The OpenAI Realtime protocol itself over WebSocket, `GET /v1/realtime`: official SDKs with only their base URL changed.

`?model=` may be anything: the deployment's model answers. Audio is PCM16 at 24 kHz, both ways. What a client gets wrong is
told in an `error` event, and the connection goes on. Whoever closes ends the session; of a client whose network is gone the
session waits, and `?session=<session.id>` takes it up again behind what had arrived.

`?input=stream` (or `X-Parley-Input`) says that appends hold the next bytes of a recording: WebM, Ogg, fragmented MP4, ADTS
or MP3; `opus` a raw packet each, `pcm_f32le 48000 2` samples (`streams.sources`). Then a binary frame is an append, too.

Our extension, for clients that must not lose or double a frame, whatever breaks. Asked for by `?parley=1` or `X-Parley: 1`:

  ─▶ every event of the protocol carries "useq": 1, 2, 3, … over the whole session, also when it is resumed. One that was
     sent before may be sent again. One that is refused has used up its number. Appends hold whole samples. A binary frame
     begins with its number, 8 bytes, big-endian.
  ◀─ {"type":"parley.ack","useq":n}               all up to n is stored; at most every 100 ms or 10 events
  ◀─ {"type":"parley.want","useq":n}              something is missing: go on from n. Told once; until n comes all is dropped
  ◀─ all that the session says carries "did": "<epoch>-<n>", in rising order; what the door replies by itself does not
  ◀─ {"type":"parley.model","state":…}             "reconnecting": the line to the model broke; "resumed": it goes on
  ─▶ {"type":"parley.received","did":…}           optional: all up to here is safe. Before the first, pongs tell what arrived
  ─▶ {"type":"parley.played","did":…,"item_id":…,"played_ms":…}      all up to here was heard; did: the last one that was,
     "item_id" (and "content_index", else 0): what is being heard, and how much of it.
     (these two need no number, and use one up if they have it)

  ?parley=1&session=<id>&after=<did>              goes on, on any gateway (no `after`: behind what is known to have arrived)
  ◀─ {"type":"parley.resumed","session":…,"next_useq":n,"after":…}   comes first. n is what Redis really has. It may be below
                                                  the last ack (after a failover): keep the last ten seconds
  ◀─ {"type":"parley.resync","after":…,"from":…}  what lies between is gone; never left out without this
  ◀─ error "session_not_found", close 4404        it has ended; close 4409: a newer connection has it

`?barge_in=server`: when the user speaks, Parley truncates the answer where the listener was, by what the client reports
(`parley.played`, every quarter of a second and when it falls silent), else by the time since it was sent. Without it that is
the client's to do, as the protocol has it.

`?audio=` asks for another rate, or for Opus or AAC in binary frames: `gateway.doors.openai_audio`. Both may also be named in
the session's `audio` object: `gateway.doors.openai_formats`.

A close with 1000 ends the session. After anything else it waits for as long as PARLEY_GRACE_S.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from aiohttp import web

from gateway.admission import admitted
from gateway.allowance import Allowance, seconds_of
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.caller import Caller
from gateway.connections import Connection
from gateway.doors import openai_entries as entries
from gateway.doors import openai_extension as extension
from gateway.doors import openai_messages as wire
from gateway.doors.openai_audio import read_query
from gateway.doors.openai_downlink import Frames, downlink, event_id
from gateway.doors.openai_formats import NONE, Formats, asked_by, in_up
from gateway.doors.openai_refusals import refuse_beta
from gateway.doors.openai_session import DOOR, NO_LIMIT, USER, Asked, Start, input_of, start
from gateway.errors import (
    BinaryFrame,
    Busy,
    ClientLeft,
    DoorError,
    NotStored,
    Refused,
    SessionNotFound,
    SlowClient,
    TooFast,
    Unavailable,
)
from gateway.limits import Room
from gateway.live_uplink import FormatChange, LiveUplink
from gateway.numbering import Numbering, Offer
from gateway.transports.websocket import Binary, TextSocket
from runtime.logs import SessionLogger
from streams.errors import Over, StreamUnavailable
from streams.ids import EntryId
from streams.messages import Message

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 32 << 20
"""A larger frame breaks the connection (1009): whatever is below it can be read, and refused by name."""

PLAYED_EVERY_S = 0.25

GOODBYE = 1000
"""The close code with which a client of the extension ends its session."""


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/realtime", _converse)]


@dataclass(slots=True)
class Client:
    """One connected Realtime client."""

    socket: TextSocket
    connection: Connection
    uplink: LiveUplink
    numbering: Numbering | None
    """of a client that has asked for the extension"""
    frames: Frames
    allowance: Allowance
    samples: entries.Samples | entries.Chunks
    """or whatever else it sends"""
    source: str
    """what that is: `streams.sources`"""
    played: EntryId | None = None
    has_played: asyncio.Event = field(default_factory=asyncio.Event)
    ack_timer: asyncio.TimerHandle | None = None
    owes_want: bool = False
    """a numbered event had no room: the client is to send it again as soon as there is some"""

    @property
    def sends_chunks(self) -> bool:
        """Its audio is no PCM16."""
        return isinstance(self.samples, entries.Chunks)

    def reply(self, kind: str, data: bytes) -> None:
        """Say it at once. A client that reads none of its replies is cut off."""
        try:
            self.connection.outbox.reply(self.frames.reply(kind, data))
        except SlowClient as over:
            self.connection.over(over)


# ---- up -------------------------------------------------------------------------------------------------------------


async def uplink(client: Client) -> None:
    """Read all that the client says until it leaves. What is wrong with an event is told, and the next one works."""
    connection = client.connection
    received = connection.metrics.messages
    parley = client.numbering is not None
    async with aclosing(client.socket.received_any(to_the_last=True)) as frames:
        async for frame in frames:
            try:
                said: wire.Said
                if not isinstance(frame, Binary):
                    said = wire.decode(frame, parley=parley, chunked=client.sends_chunks)
                elif client.sends_chunks:
                    said = wire.decode_chunk(frame.data, parley=parley)
                else:
                    raise wire.Mistake("invalid_event", str(BinaryFrame()))
                formats = NONE
                if isinstance(said, wire.Event):
                    said, formats = asked_by(said)
                received.labels(DOOR, "received", said.kind).inc()
                _take(client, said, formats)
            except wire.Mistake as mistake:
                received.labels(DOOR, "received", "refused").inc()
                _refuse(client, mistake)
    goodbye = client.socket.goodbye
    if goodbye == GOODBYE or (goodbye is not None and not parley):
        client.uplink.end("client_left")
    raise ClientLeft


def _take(client: Client, said: wire.Said, formats: Formats = NONE) -> None:
    match said:
        case wire.Received(did, useq) | wire.Played(did, useq):
            if isinstance(said, wire.Received):
                client.connection.received(did)
            else:
                client.played = did
                client.has_played.set()
                if said.at is not None:
                    client.connection.played(said.at)
            if useq is not None and client.numbering is not None:
                _take_numbered(client, client.numbering, useq, None)
        case _ if client.numbering is None:
            try:
                _spend(client, said)
                _go_over(client, formats)
                for message in entries.messages(said, client.samples):
                    client.uplink.say(message)
            except Refused as error:
                _tell(client, error, said.event_id)
        case _:
            if (useq := said.useq) is None:
                sentence = "Missing required parameter: 'useq'."
                raise wire.Mistake("missing_required_parameter", sentence, param="useq", event_id=said.event_id)
            _take_numbered(client, client.numbering, useq, said, formats)


def _go_over(client: Client, formats: Formats) -> None:
    """From here on what the client sends, and what it hears, is as it has named it."""
    if not formats:
        return
    source = formats.source
    other = None if source is None or source == client.source else in_up(source)
    if other is not None and source is not None:
        client.source, client.samples = source, entries.Chunks()
    client.uplink.change(FormatChange(formats.input, formats.output, other))


def _entry(client: Client, said: wire.Numbered | None) -> Message:
    return entries.VOIDED if said is None else entries.message(said, chunked=client.sends_chunks)


def _spend(client: Client, said: wire.Numbered) -> None:
    """Raises TooFast. How much sound chunks are, the transcoder sees."""
    if isinstance(said, wire.Audio) and not client.sends_chunks:
        client.allowance.take(seconds_of(said.data), time.monotonic())


def _take_numbered(
    client: Client, numbering: Numbering, useq: int, said: wire.Numbered | None, formats: Formats = NONE
) -> bool:
    """Take it, if it is the next one; None: its number only. Whether it was, and had room."""
    match numbering.offer(useq):
        case Offer.TAKE:
            about = None if said is None else said.event_id
            too_fast: TooFast | None = None
            try:
                if said is not None:
                    _spend(client, said)
            except TooFast as error:
                said, too_fast = None, error
            _go_over(client, formats)
            try:
                client.uplink.say(_entry(client, said))
            except Busy:
                numbering.go_back(useq)
                client.owes_want = True
                return False
            except NotStored:
                return False  # the client knows by now from where to go on
            numbering.took()
            if too_fast is not None:
                _tell(client, too_fast, about)
            return True
        case Offer.AGAIN:
            _ack_in_time(client, numbering)
        case Offer.WANT:
            client.reply("parley.want", extension.want(numbering.next))
        case Offer.AHEAD:
            pass
    return False


def _refuse(client: Client, mistake: wire.Mistake) -> None:
    """Tell it. A numbered event that is refused has used up its number; sent again, it is refused no second time."""
    if client.numbering is None or mistake.useq is None or _take_numbered(client, client.numbering, mistake.useq, None):
        _tell(client, mistake)


def _tell(client: Client, error: DoorError, about: str | None = None) -> None:
    client.connection.metrics.errors.labels(DOOR, error.code).inc()
    client.reply("error", wire.error(event_id(), error, about=about))


def _stored(client: Client, numbering: Numbering, useq: int) -> None:
    numbering.has_stored(useq)
    _ack_in_time(client, numbering)


def _wanted(client: Client, numbering: Numbering, useq: int) -> None:
    numbering.go_back(useq)
    client.reply("parley.want", extension.want(useq))


def _ack_in_time(client: Client, numbering: Numbering) -> None:
    """Acknowledge now, or when enough time has passed since the last time."""
    at, loop = numbering.ack_at(), asyncio.get_running_loop()
    if at is None:
        return
    if at <= loop.time():
        _ack(client, numbering)
    elif client.ack_timer is None:
        client.ack_timer = loop.call_at(at, _ack, client, numbering)


def _ack(client: Client, numbering: Numbering) -> None:
    if client.ack_timer is not None:
        client.ack_timer.cancel()
        client.ack_timer = None
    client.reply("parley.ack", extension.ack(numbering.ack(asyncio.get_running_loop().time())))
    if client.owes_want:
        client.owes_want = False
        client.reply("parley.want", extension.want(numbering.next))


async def _keep_played(client: Client) -> None:
    """Keep what was heard, at most four times a second."""
    connection = client.connection
    while True:
        await client.has_played.wait()
        client.has_played.clear()
        if client.played is not None and client.played <= connection.arrivals.written:
            await connection.keep_cursor("played", client.played)
        await asyncio.sleep(PLAYED_EVERY_S)


# ---- a connection ---------------------------------------------------------------------------------------------------


async def _converse(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    async with admitted(request, DOOR) as caller:
        refuse_beta(request)
        asked = _asked(request, caller)
        async with request.app[LIMITS].session(caller, resumes=asked.resumes) as room:
            return await _converse_in(request, asked, room)


async def _converse_in(request: web.Request, asked: Asked, room: Room) -> web.StreamResponse:
    app, settings = request.app, request.app[SETTINGS]
    socket = TextSocket(max_message_bytes=MAX_MESSAGE_BYTES, send_timeout_s=settings.send_timeout_s)
    response = await socket.open(request)
    try:
        begun = await start(request, asked)
    except (StreamUnavailable, Over, SessionNotFound) as error:
        over = error if isinstance(error, SessionNotFound) else Unavailable()
        app[METRICS].errors.labels(DOOR, over.code).inc()
        with suppress(ClientLeft, SlowClient):
            await socket.send(wire.error(event_id(), over))
        await socket.close(over)
        return response
    client = _client(request, socket, begun)
    with app[CONNECTIONS].joined(client.connection):
        try:
            ways = uplink(client), downlink(client.connection, app[BACKEND], client.frames), _keep_played(client)
            await client.connection.run(*ways, room.is_for(client.frames.sid))
        finally:
            if client.ack_timer is not None:
                client.ack_timer.cancel()
    return response


def _asked(request: web.Request, caller: Caller) -> Asked:
    query = request.query
    parley = query.get("parley") == "1" or request.headers.get("X-Parley") == "1"
    named = query.get("session") or None
    return Asked(
        caller.user_or(USER),
        parley,
        named,
        query.get("after"),
        read_query(query),
        input=input_of(request),
        cuts_answers=query.get("barge_in") == "server",
        begins=caller.session,
        recorded_by=caller.recorded_by,
    )


def _client(request: web.Request, socket: TextSocket, begun: Start) -> Client:
    backend: Backend = request.app[BACKEND]
    session = begun.opened.session
    log = SessionLogger(logger, session.sid)
    live = LiveUplink(
        backend,
        session,
        log,
        known=begun.known,
        gen=begun.gen,
        first=begun.first,
        route=begun.route,
        held=begun.opened.attachment.value,
    )
    connection = Connection(
        DOOR,
        socket,
        begun.opened,
        backend,
        request.app[METRICS],
        begun.frames.error,
        place=begun.place,
        max_waiting_bytes=NO_LIMIT,
        way=live,
    )
    live.on_over = lambda: connection.downlink.look_again()  # by then it may be another one
    numbering = None if begun.gen is None else Numbering(begun.first)
    allowance = request.app[LIMITS].allowance(session.sid)
    samples = entries.Samples() if begun.route == "pcm" else entries.Chunks()
    client = Client(socket, connection, live, numbering, begun.frames, allowance, samples, begun.source)
    connection.on_told = lambda event: client.reply("error", event.encode())
    if numbering is not None:
        live.on_stored = lambda useq: _stored(client, numbering, useq)
        live.on_wanted = lambda useq: _wanted(client, numbering, useq)
    for frame in begun.greetings:
        connection.outbox.reply(frame)
    return client
