"""❶❽ The OpenAI Realtime protocol itself over WebSocket, `GET /v1/realtime`: official SDKs with only their base URL changed.

`?model=` may be anything: the deployment's model answers. Audio is PCM16 at 24 kHz, both ways. What a client gets wrong is
told in an `error` event, and the connection goes on. Whoever closes ends the session; of a client whose network is gone the
session waits, and `?session=<session.id>` takes it up again behind what had arrived.

Our extension, for clients that must not lose or double a frame, whatever breaks. Asked for by `?parley=1` or `X-Parley: 1`:

  ─▶ every event of the protocol carries "useq": 1, 2, 3, … over the whole session, also when it is resumed. One that was
     sent before may be sent again. One that is refused has used up its number. Appends hold whole samples.
  ◀─ {"type":"parley.ack","useq":n}               all up to n is stored; at most every 100 ms or 10 events
  ◀─ {"type":"parley.want","useq":n}              something is missing: go on from n. Told once; until n comes all is dropped
  ◀─ all that the session says carries "did": "<epoch>-<n>", in rising order; what the door replies by itself does not
  ─▶ {"type":"parley.received","did":…}           optional: all up to here is safe. Before the first, pongs tell what arrived
  ─▶ {"type":"parley.played","did":…,"item_id":…,"played_ms":…}      all up to here was heard

  ?parley=1&session=<id>&after=<did>              goes on, on any gateway (no `after`: behind what is known to have arrived)
  ◀─ {"type":"parley.resumed","session":…,"next_useq":n,"after":…}   comes first. n is what Redis really has. It may be below
                                                  the last ack (after a failover): keep the last ten seconds
  ◀─ {"type":"parley.resync","after":…,"from":…}  what lies between is gone; never left out without this
  ◀─ error "session_not_found", close 4404        it has ended; close 4409: a newer connection has it

A close with 1000 ends the session. After anything else it waits for as long as PARLEY_GRACE_S.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from secrets import token_hex

import msgspec
from aiohttp import web

from gateway.admission import Caller, admit
from gateway.appkeys import BACKEND, CONNECTIONS, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.connections import Connection, Place, place_of
from gateway.doors import openai_messages as wire
from gateway.errors import (
    BinaryFrame,
    Busy,
    ClientLeft,
    ConnectionOver,
    DoorError,
    NotAdmitted,
    NoToken,
    NotStored,
    Refused,
    SessionNotFound,
    SlowClient,
    Unavailable,
)
from gateway.live_uplink import LiveUplink
from gateway.naming import Opened, new_session, resume
from gateway.numbering import Numbering, Offer
from gateway.outbox import Frame
from gateway.refusals import Farewell
from gateway.replay import numbers, opened_as, resync_from
from gateway.session import ClientSession
from gateway.transports.websocket import TextSocket
from runtime.logs import SessionLogger
from streams import down, pcm, turns
from streams.errors import Over, StreamUnavailable
from streams.ids import BIRTH, EntryId
from streams.messages import VOID, Clear, ClientEvent, Commit, Message
from streams.producer import open_left
from streams.sessions import now_ms
from streams.up import JOINED_BYTES, GenOpened

logger = logging.getLogger(__name__)

DOOR = "openai"
USER = "anonymous"
"""Where nobody is asked who they are."""

MAX_MESSAGE_BYTES = 32 << 20
"""A larger frame breaks the connection (1009): whatever is below it can be read, and refused by name."""

PLAYED_EVERY_S = 0.25

GOODBYE = 1000
"""The close code with which a client of the extension ends its session."""

INVALID_KEY = 3000
"""The protocol's own close code for it."""

_NO_LIMIT = 0
"""`LiveUplink` has bounds of its own."""


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
    carry: bytes = b""
    """half a sample that waits for its other half"""
    played: EntryId | None = None
    has_played: asyncio.Event = field(default_factory=asyncio.Event)
    ack_timer: asyncio.TimerHandle | None = None
    owes_want: bool = False
    """a numbered event had no room: the client is to send it again as soon as there is some"""

    def reply(self, kind: str, data: bytes) -> None:
        """Say it at once. A client that reads none of its replies is cut off."""
        try:
            self.connection.outbox.reply(Frame(kind, data))
        except SlowClient as over:
            self.connection.over(over)


# ---- up -------------------------------------------------------------------------------------------------------------


async def uplink(client: Client) -> None:
    """Read all that the client says until it leaves. What is wrong with an event is told, and the next one works."""
    connection = client.connection
    received = connection.metrics.messages
    parley = client.numbering is not None
    async with aclosing(client.socket.received()) as texts:
        async for text in texts:
            try:
                if text is None:
                    raise wire.Mistake("invalid_event", str(BinaryFrame()))
                said = wire.decode(text, parley=parley)
                received.labels(DOOR, "received", said.kind).inc()
                _take(client, said)
            except wire.Mistake as mistake:
                received.labels(DOOR, "received", "refused").inc()
                _refuse(client, mistake)
    goodbye = client.socket.goodbye
    if goodbye == GOODBYE or (goodbye is not None and not parley):
        client.uplink.end("client_left")
    raise ClientLeft


def _take(client: Client, said: wire.Said) -> None:
    match said:
        case wire.Received(did):
            client.connection.received(did)
        case wire.Played(did):
            client.played = did
            client.has_played.set()
        case _ if client.numbering is None:
            try:
                for message in _messages(client, said):
                    client.uplink.say(message)
            except Refused as error:
                _tell(client, error, said.event_id)
        case _:
            if (useq := said.useq) is None:
                sentence = "Missing required parameter: 'useq'."
                raise wire.Mistake("missing_required_parameter", sentence, param="useq", event_id=said.event_id)
            _take_numbered(client, client.numbering, useq, _message(said))


def _messages(client: Client, said: wire.Numbered) -> list[Message]:
    """What an event is in `pcm`: speech in whole samples and pieces of at most a second."""
    if not isinstance(said, wire.Audio):
        if not isinstance(said, wire.Event):
            client.carry = b""  # half a sample of what was committed or cleared belongs to nothing that comes
        return [_control(said)]
    data = client.carry + said.data
    whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
    client.carry = data[whole:]
    return [pcm.Audio(data[at : min(at + JOINED_BYTES, whole)]) for at in range(0, whole, JOINED_BYTES)]


def _message(said: wire.Numbered) -> Message:
    """A numbered event is one entry, whatever its size."""
    if not isinstance(said, wire.Audio):
        return _control(said)
    return pcm.Audio(said.data) if said.data else _VOID


_VOID = ClientEvent(VOID, msgspec.Raw(b"{}"))


def _control(said: wire.Commit | wire.Clear | wire.Event) -> Message:
    match said:
        case wire.Commit(event_id):
            return Commit(respond=False, event_id=event_id)
        case wire.Clear(event_id):
            return Clear(event_id)
        case wire.Event(kind, body):
            return ClientEvent(kind, msgspec.Raw(body))


def _take_numbered(client: Client, numbering: Numbering, useq: int, message: Message) -> bool:
    """Take it, if it is the next one. Whether it was, and had room."""
    match numbering.offer(useq):
        case Offer.TAKE:
            try:
                client.uplink.say(message)
            except Busy:
                numbering.go_back(useq)
                client.owes_want = True
                return False
            except NotStored:
                return False  # the client knows by now from where to go on
            numbering.took()
            return True
        case Offer.AGAIN:
            _ack_in_time(client, numbering)
        case Offer.WANT:
            client.reply("parley.want", wire.want(numbering.next))
        case Offer.AHEAD:
            pass
    return False


def _refuse(client: Client, mistake: wire.Mistake) -> None:
    """Tell it. A numbered event that is refused has used up its number; sent again, it is refused no second time."""
    if client.numbering is None or mistake.useq is None or _take_numbered(client, client.numbering, mistake.useq, _VOID):
        _tell(client, mistake)


def _tell(client: Client, error: DoorError, about: str | None = None) -> None:
    client.connection.metrics.errors.labels(DOOR, error.code).inc()
    client.reply("error", wire.error(_event_id(), error, about=about))


def _stored(client: Client, numbering: Numbering, useq: int) -> None:
    numbering.has_stored(useq)
    _ack_in_time(client, numbering)


def _wanted(client: Client, numbering: Numbering, useq: int) -> None:
    numbering.go_back(useq)
    client.reply("parley.want", wire.want(useq))


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
    client.reply("parley.ack", wire.ack(numbering.ack(asyncio.get_running_loop().time())))
    if client.owes_want:
        client.owes_want = False
        client.reply("parley.want", wire.want(numbering.next))


# ---- down -----------------------------------------------------------------------------------------------------------


async def downlink(client: Client) -> None:
    """Say all that the session says, in order, until it ends."""
    connection = client.connection
    async with aclosing(connection.downlink.entries()) as entries:
        try:
            async for entry in entries:
                frame = _frame(client, entry.id, entry.message)
                if frame is not None:
                    await connection.outbox.put(frame)
                connection.said(entry.id)
        except ConnectionOver as over:
            connection.outbox.finish(over)  # what was said last is sent before the goodbye


def _frame(client: Client, did: EntryId, message: down.DownMessage) -> Frame | None:
    """What the client is told of an entry; None for what it need not know."""
    connection = client.connection
    match message:
        case down.Audio(item=item):
            return _event(client, did, "audio", wire.audio_delta(did, message), item)
        case down.ServerEvent("session.updated", body):
            return _event(client, did, "event", wire.session_updated(bytes(body), connection.session.sid))
        case down.ServerEvent(body=body):
            return _event(client, did, "event", bytes(body))
        case down.Failed(code, _):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
            connection.log.info("the client is told of a failure: %s", code)
            return _event(client, did, "error", wire.failed(_event_id(), message))
        case down.Interrupted(item=item):
            connection.outbox.void(item)
            return None
        case down.Opened() | down.EpochTaken() | down.PersonaSet() | down.Ended():
            return None


def _event(client: Client, did: EntryId, kind: str, body: bytes, item: str | None = None) -> Frame:
    return Frame(kind, body if client.numbering is None else wire.with_did(body, did), item)


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


@dataclass(frozen=True, slots=True)
class Start:
    """How a connection begins."""

    opened: Opened
    place: Place
    known: bool
    gen: int | None = None
    """in which the client numbers"""
    first: int = 1
    greetings: tuple[Frame, ...] = ()
    """what the client is told first"""


async def _converse(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    app, settings = request.app, request.app[SETTINGS]
    caller = await admit(request, DOOR)
    if app[CONNECTIONS].draining:
        raise web.HTTPServiceUnavailable(text="This server restarts. Please connect again.", headers={"Retry-After": "1"})
    socket = TextSocket(max_message_bytes=MAX_MESSAGE_BYTES, send_timeout_s=settings.send_timeout_s)
    response = await socket.open(request)
    try:
        start = await _start(request, caller)
    except (StreamUnavailable, Over, SessionNotFound) as error:
        over = error if isinstance(error, SessionNotFound) else Unavailable()
        app[METRICS].errors.labels(DOOR, over.code).inc()
        with suppress(ClientLeft, SlowClient):
            await socket.send(_error_frame(over).data)
        await socket.close(over)
        return response
    client = _client(request, socket, start)
    with app[CONNECTIONS].joined(client.connection):
        try:
            await client.connection.run(uplink(client), downlink(client), _keep_played(client))
        finally:
            if client.ack_timer is not None:
                client.ack_timer.cancel()
    return response


def farewell(error: NotAdmitted) -> Farewell:
    """What this protocol says to who is not admitted: an `error` event, and a close whose reason names it."""
    if error.fault != "client":
        return Farewell(error.close_code, str(error), wire.error(_event_id(), error))
    code = None if isinstance(error, NoToken) else "invalid_api_key"
    reason = "invalid_request_error" if code is None else f"invalid_request_error.{code}"
    return Farewell(INVALID_KEY, reason, wire.not_admitted(_event_id(), str(error), code))


async def _start(request: web.Request, caller: Caller) -> Start:
    """Raises StreamUnavailable, Over, SessionNotFound."""
    parley = request.query.get("parley") == "1" or request.headers.get("X-Parley") == "1"
    if named := request.query.get("session"):
        return await _start_again(request, caller, wire.sid_of(named), parley=parley)
    app, backend = request.app, request.app[BACKEND]
    opened = await new_session(backend, turns.Opened(user=caller.user_or(USER), door=DOOR, turn_mode="server_vad"))
    app[METRICS].sessions.labels(DOOR).inc()
    gen = None
    if parley:
        gen = await open_left(backend.writer, opened.session.keys.pcm, GenOpened(source="pcm16"), now_ms())
    created = _created(request, opened, BIRTH if parley else None)
    return Start(opened, Place(BIRTH, ClientSession()), known=False, gen=gen, greetings=(created,))


async def _start_again(request: web.Request, caller: Caller, sid: str, *, parley: bool) -> Start:
    backend = request.app[BACKEND]
    session = await backend.sessions.by_sid(sid)
    born = None if session is None else await opened_as(backend.redis, session)
    if born is None or born.door != DOOR or born.user != caller.user_or(USER):
        raise SessionNotFound  # also when it is another user's: nobody learns that it is there, nor takes it from them
    opened = await resume(backend, sid)
    if opened is None:
        raise SessionNotFound
    stored = await numbers(backend.redis, opened.session)
    place = await place_of(backend, opened)
    if not parley:
        return Start(opened, place, known=stored.known, greetings=(_created(request, opened, None),))
    asked = request.query.get("after")
    after = place.after if asked is None else _asked_for(asked)
    greetings = [Frame("parley.resumed", wire.resumed(sid, stored.next, after))]
    begins = await resync_from(backend.redis, opened.session, after)
    if begins is not None:
        greetings.append(Frame("parley.resync", wire.resync(after, begins)))
        after = min(after, EntryId(begins.left, begins.right - 1) if begins.right else EntryId(begins.left - 1, 0))
    place = Place(after, ClientSession())
    return Start(opened, place, stored.known, stored.gen, stored.next, tuple(greetings))


def _asked_for(after: str) -> EntryId:
    """What cannot be read is the beginning: the client is told again what it may have."""
    try:
        return EntryId.parse(after)
    except ValueError:
        return BIRTH


def _client(request: web.Request, socket: TextSocket, start: Start) -> Client:
    backend: Backend = request.app[BACKEND]
    session = start.opened.session
    log = SessionLogger(logger, session.sid)
    live = LiveUplink(backend, session, log, known=start.known, gen=start.gen, first=start.first)
    connection = Connection(
        DOOR,
        socket,
        start.opened,
        backend,
        request.app[METRICS],
        _error_frame,
        place=start.place,
        max_waiting_bytes=_NO_LIMIT,
        way=live,
    )
    live.on_over = connection.downlink.look_again
    numbering = None if start.gen is None else Numbering(start.first)
    client = Client(socket, connection, live, numbering)
    if numbering is not None:
        live.on_stored = lambda useq: _stored(client, numbering, useq)
        live.on_wanted = lambda useq: _wanted(client, numbering, useq)
    for frame in start.greetings:
        connection.outbox.reply(frame)
    return client


def _created(request: web.Request, opened: Opened, did: EntryId | None) -> Frame:
    settings = request.app[SETTINGS]
    event = wire.session_created(
        opened.session.sid,
        _event_id(),
        model=settings.openai_realtime_model,
        transcription_model=settings.transcription_model,
    )
    return Frame("session.created", event if did is None else wire.with_did(event, did))


def _event_id() -> str:
    return f"event_{token_hex(10)}"


def _error_frame(error: DoorError) -> Frame:
    return Frame("error", wire.error(_event_id(), error))
