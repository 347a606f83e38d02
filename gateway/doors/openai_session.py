"""❽ What the openai door is over WebSocket and over HTTP alike: how a connection begins, and what its client is told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from secrets import token_hex

import msgspec
from aiohttp import web
from msgspec import structs

from gateway.appkeys import BACKEND, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.connections import Connection
from gateway.doors import openai_audio as heard
from gateway.doors import openai_extension as extension
from gateway.doors import openai_messages as wire
from gateway.doors.openai_audio import Heard
from gateway.doors.openai_formats import NONE, PLAIN, Formats, named_as, taken_out
from gateway.doors.openai_shapes import Object, response_told, session_told, session_updated, truncated
from gateway.errors import (
    BetaShape,
    ConnectionOver,
    DoorError,
    NotAdmitted,
    NoToken,
    SessionNotFound,
    Unavailable,
    UnknownInput,
)
from gateway.naming import Opened, new_session, resume
from gateway.outbox import Frame
from gateway.place import Place, on_the_way, place_of
from gateway.refusals import Farewell
from gateway.replay import numbers, opened_as, resync_from, route_now
from gateway.route import route_of, stream_of
from gateway.session import ClientSession, Route
from gateway.session_formats import keep, kept
from streams import down, turns
from streams.errors import StreamUnavailable
from streams.ids import BIRTH, EntryId
from streams.producer import open_left
from streams.sessions import Session, now_ms
from streams.sources import read_chunked
from streams.up import GenOpened

DOOR = "openai"
USER = "anonymous"
"""Whoever has not shown who they are."""

INVALID_KEY = 3000
"""The protocol's own close code for it."""

BETA_SHAPE = 4000
"""And for this."""

BETA_PROTOCOL = "openai-beta.realtime-v1"
"""How a browser, which can send no header, says `OpenAI-Beta: realtime=v1`."""

NO_LIMIT = 0
"""Of bytes that wait in an `Uplink`: this door has ways of its own."""


# ---- what the client is told ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frames:
    """How one client is told things."""

    sid: str
    dids: bool
    """it has asked for our extension"""
    heard: Heard = Heard()  # noqa: RUF009 - frozen
    """in what it hears answers"""
    streamed: bool = False
    """over Server-Sent Events, where an event stands on one line under a name, and its place is its id"""
    formats: Formats = NONE
    """what it has named in its session"""

    def reply(self, kind: str, data: bytes) -> Frame:
        """Of the door itself."""
        return Frame(kind, data, event=kind, prefix=self._prefix)

    def error(self, error: DoorError, about: str | None = None) -> Frame:
        return self.reply("error", wire.error(event_id(), error, about=about))

    def said(self, did: EntryId, kind: str, body: bytes, item: str | None = None, *, event: str | None = None) -> Frame:
        """Of the session; `kind` is for the count."""
        if self.streamed and (b"\n" in body or b"\r" in body):
            body = msgspec.json.format(body, indent=-1)
        body = wire.with_did(body, did) if self.dids else body
        return Frame(kind, body, item, did if self.streamed else None, event=event or kind, prefix=self._prefix)

    def tail(self, did: EntryId, tail: down.Tail, audio: bytes) -> Frame:
        """The end of a part; the event that ends it follows, and has its place."""
        if tail.samples:
            return replace(self.packets(did, tail.item, tail.part, audio, tail), entry=None)
        data = heard.tail_delta(did, tail, self.heard.sound(audio))
        data = wire.with_did(data, did, is_tail=True) if self.dids else data
        return Frame("audio", data, tail.item, event="response.output_audio.delta", prefix=self._prefix)

    def packets(self, did: EntryId, item: str, part: int, audio: bytes, packets: down.Packets) -> Frame:
        """Of the session, coded; the frame itself says its place."""
        data = heard.frame(did, item, part, audio, packets)
        if not self.streamed:
            return Frame("audio", data, item, is_binary=True)
        return Frame("audio", heard.in_json(data), item, did, event="parley.audio", prefix=self._prefix)

    @property
    def _prefix(self) -> str:
        return f"{self.sid}/" if self.streamed else ""


def event_id() -> str:
    return f"event_{token_hex(10)}"


async def downlink(connection: Connection, backend: Backend, frames: Frames) -> None:
    """Say all that the session says, in order, until it ends."""
    connection.stopping.flushes = True
    try:
        for mistake in frames.heard.mistakes:
            connection.trouble(mistake)
        if frames.heard.codec is not None:
            await connection.listen(frames.heard.codec, frames.heard.coding)
        while True:
            frames = await _say(connection, backend, frames)
            await connection.listen(frames.heard.codec, frames.heard.coding)
    except ConnectionOver as over:
        connection.outbox.finish(over)  # what was said last is sent before the goodbye


async def _say(connection: Connection, backend: Backend, frames: Frames) -> Frames:
    """Until it is to be said from another stream: then how. What a client names counts from the `session.updated` on."""
    async with aclosing(connection.downlink.entries()) as entries:
        async for entry in entries:
            before = frames.heard
            if isinstance(entry.message, down.ServerEvent):
                for tail, audio in entry.message.ends():
                    if tail.item in connection.downlink.void:
                        continue
                    await connection.outbox.put(frames.tail(entry.id, tail, audio))
                if entry.message.type == "conversation.item.truncated":
                    connection.playhead.cut(*truncated(entry.message.body), asyncio.get_running_loop().time())
                if entry.message.type == "session.updated":
                    frames = await _named_anew(backend, connection.session, frames)
            frame = _frame(connection, frames, entry.id, entry.message)
            if frame is not None:
                await connection.outbox.put(frame)
            connection.said(entry.id)
            connection.heard = entry.id
            if (frames.heard.codec, frames.heard.coding) != (before.codec, before.coding):
                return frames
    raise AssertionError("it ends by an exception only")


async def _named_anew(backend: Backend, session: Session, frames: Frames) -> Frames:
    try:
        formats = await formats_of(backend, session)
    except StreamUnavailable as error:
        raise Unavailable from error
    if formats.output == frames.formats.output:
        return replace(frames, formats=formats)
    return replace(frames, formats=formats, heard=formats.heard or frames.heard)


def _frame(connection: Connection, frames: Frames, did: EntryId, message: down.DownMessage) -> Frame | None:
    """What the client is told of an entry; None for what it need not know."""
    match message:
        case down.Audio(audio=b""):
            return None
        case down.Audio(item=item, audio=audio):
            data = wire.audio_delta(did, structs.replace(message, audio=frames.heard.sound(audio)))
            return frames.said(did, "audio", data, item, event="response.output_audio.delta")
        case down.Coded(item=item, part=part, audio=audio, packets=packets):
            return frames.packets(did, item, part, audio, packets) if packets.sizes else None
        case down.ServerEvent("session.updated", body):
            updated = session_updated(bytes(body), frames.sid, frames.formats.shown)
            return frames.said(did, "event", updated, event="session.updated")
        case down.ServerEvent(("response.created" | "response.done") as kind, body) if frames.formats.output is not None:
            told = response_told(bytes(body), frames.formats.output)
            return frames.said(did, "event", told, event=kind)
        case down.ServerEvent(kind, body):
            return frames.said(did, "event", bytes(body), event=kind)
        case down.Failed(code, _):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
            connection.log.info("the client is told of a failure: %s", code)
            return frames.said(did, "error", wire.failed(event_id(), message))
        case down.Notice(final=True):
            return frames.said(did, "error", wire.ends(event_id(), message))
        case down.Notice():
            return frames.said(did, "notice", extension.notice(message), event="parley.notice") if frames.dids else None
        case down.Interrupted(item=item):
            connection.void(item)
            return None
        case down.Reconnecting() | down.Resumed() if frames.dids:
            is_back = isinstance(message, down.Resumed)
            return frames.said(did, "event", extension.model_line(is_back=is_back), event=extension.MODEL)
        case down.Opened() | down.EpochTaken() | down.PersonaSet() | down.Ended() | down.Reconnecting() | down.Resumed():
            return None


def farewell(error: NotAdmitted) -> Farewell:
    """What this protocol says to who is not admitted: an `error` event, and a close whose reason names it."""
    if error.fault != "client":
        return Farewell(error.close_code, str(error), wire.error(event_id(), error))
    match error:
        case NoToken():
            code, close_code = None, INVALID_KEY
        case BetaShape():
            code, close_code = error.code, BETA_SHAPE
        case _:
            code, close_code = "invalid_api_key", INVALID_KEY
    reason = "invalid_request_error" if code is None else f"invalid_request_error.{code}"
    return Farewell(close_code, reason, wire.not_admitted(event_id(), str(error), code))


def refuse_beta(request: web.Request) -> None:
    """Who speaks the protocol of before 2025-08 would understand nothing of what it is told. Raises BetaShape."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    said = ",".join(request.headers.getall("OpenAI-Beta", [])).split(",")
    if BETA_PROTOCOL in map(str.strip, offered) or any(each.strip().startswith("realtime=") for each in said):
        error = BetaShape()
        error.door = DOOR
        raise error


# ---- how a connection begins ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client wants."""

    user: str
    parley: bool
    """our extension"""
    session: str | None = None
    """to go on with; none: a new one"""
    after: str | None = None
    """what it has got of it"""
    heard: Heard = Heard()  # noqa: RUF009 - frozen
    streamed: bool = False
    input: str | None = None
    """what its chunks are; None: it sends PCM16"""
    cuts_answers: bool = False
    """see `turns.Opened`"""
    begins: str | None = None
    """what a new session begins with, as its client secret says"""
    recorded_by: str | None = None
    """see `turns.Opened`"""

    async def resumes(self) -> bool:
        """Whether it needs no room for another session."""
        return self.session is not None


@dataclass(frozen=True, slots=True)
class Start:
    """How a connection begins."""

    opened: Opened
    frames: Frames
    place: Place
    known: bool
    gen: int | None = None
    """in which the client numbers"""
    first: int = 1
    greetings: tuple[Frame, ...] = ()
    """what the client is told first"""
    route: Route = "pcm"
    """which way what it says goes"""
    source: str = PLAIN
    """what its audio is"""


def input_of(request: web.Request) -> str | None:
    """What the client says that its chunks are; None for PCM16. Raises UnknownInput."""
    named = request.query.get("input") or request.headers.get("X-Parley-Input") or PLAIN
    if named == PLAIN:
        return None
    source = read_chunked(named)
    if source is None:
        raise UnknownInput(named)
    return source


async def found(backend: Backend, user: str, named: str) -> tuple[Session, turns.Opened]:
    """The live session that a client names, and how it was opened.

    Raises SessionNotFound, also when it is another user's or another door's; StreamUnavailable.
    """
    sid = wire.sid_of(named)
    session = None if sid is None else await backend.sessions.by_sid(sid)
    opened = None if session is None else await opened_as(backend.redis, session)
    if session is None or opened is None or opened.door != DOOR or opened.user != user:
        raise SessionNotFound
    return session, opened


async def start(request: web.Request, asked: Asked) -> Start:
    """Open a session, or take one up. Raises StreamUnavailable, Over, SessionNotFound."""
    if asked.session is not None:
        return await _start_again(request, asked, asked.session)
    app, backend = request.app, request.app[BACKEND]
    begins, formats = _begins(asked)
    input_ = asked.input
    if input_ is None and formats.source not in (None, PLAIN):
        input_ = formats.source
    heard = asked.heard if asked.heard.is_named else formats.heard or asked.heard
    how = turns.Opened(
        user=asked.user,
        door=DOOR,
        turn_mode="server_vad",
        numbered=asked.parley,
        input=input_,
        cuts_answers=asked.cuts_answers,
        session=None if begins is None else msgspec.Raw(msgspec.json.encode(begins)),
        recorded_by=asked.recorded_by,
    )
    route = route_of(how)
    opened = await new_session(backend, how)
    app[METRICS].sessions.labels(DOOR).inc()
    gen = None
    async with on_the_way(backend, opened):
        await keep(backend.redis, opened.session, input=formats.input, output=formats.output)
    if asked.parley:
        first = GenOpened(source=input_ or PLAIN)
        async with on_the_way(backend, opened):
            gen = await open_left(backend.writer, stream_of(opened.session, route), first, now_ms())
    frames = Frames(opened.session.sid, asked.parley, heard, asked.streamed, formats)
    greetings = (frames.said(BIRTH, "session.created", _created(request, opened, begins, formats)),)
    place, source = Place(BIRTH, ClientSession()), input_ or PLAIN
    return Start(opened, frames, place, known=False, gen=gen, greetings=greetings, route=route, source=source)


def _begins(asked: Asked) -> tuple[Object | None, Formats]:
    """What the client secret says of the session, and the formats in it. They were looked at when it was minted."""
    if asked.begins is None:
        return None, NONE
    return taken_out(msgspec.json.decode(asked.begins))


async def _start_again(request: web.Request, asked: Asked, named: str) -> Start:
    backend = request.app[BACKEND]
    session, how = await found(backend, asked.user, named)
    opened = await resume(backend, session.sid)
    if opened is None:
        raise SessionNotFound
    async with on_the_way(backend, opened):
        route = await route_now(backend.redis, session, how)
        return await _gone_on_with(request, asked, opened, how, route)


async def _gone_on_with(request: web.Request, asked: Asked, opened: Opened, how: turns.Opened, route: Route) -> Start:
    backend, session = request.app[BACKEND], opened.session
    stored = await numbers(backend.redis, session, route)
    place = await place_of(backend, opened)
    formats = await formats_of(backend, session)
    if asked.heard.is_named and formats.output is not None:  # the last word counts
        formats = replace(formats, output=named_as(asked.heard))
        await keep(backend.redis, session, output=formats.output)
    heard = asked.heard if asked.heard.is_named else formats.heard or asked.heard
    source = source_of(how, route, formats)
    begins = None if how.session is None else msgspec.json.decode(how.session)
    frames = Frames(session.sid, asked.parley, heard, asked.streamed, formats)
    if not asked.parley and not asked.streamed:
        greeting = frames.reply("session.created", _created(request, opened, begins, formats))
        return Start(opened, frames, place, known=stored.known, greetings=(greeting,), route=route, source=source)
    # What cannot be read is the beginning: the client is told again what it may have.
    after = place.after if asked.after is None else wire.read_did(asked.after) or BIRTH
    greetings = [frames.reply("parley.resumed", extension.resumed(session.sid, stored.next, after))]
    begins = await resync_from(backend.redis, session, after)
    if begins is not None:
        greetings.append(frames.reply("parley.resync", extension.resync(after, begins)))
        after = min(after, EntryId(begins.left, begins.right - 1) if begins.right else EntryId(begins.left - 1, 0))
    place = Place(after, ClientSession(), exact=asked.after is not None)
    gen = stored.gen if asked.parley else None
    return Start(opened, frames, place, stored.known, gen, stored.next, tuple(greetings), route, source)


async def formats_of(backend: Backend, session: Session) -> Formats:
    """What its client has named last. Raises StreamUnavailable."""
    return Formats(*await kept(backend.redis, session))


def source_of(how: turns.Opened, route: Route, formats: Formats) -> str:
    """What a session's client sends now."""
    if route == "pcm":
        return PLAIN
    return formats.source or how.input or PLAIN


def _created(request: web.Request, opened: Opened, begins: Object | None, formats: Formats) -> bytes:
    settings = request.app[SETTINGS]
    session = session_told(
        opened.session.sid,
        model=settings.openai_realtime_model,
        transcription_model=settings.transcription_model,
        begins=begins,
    )
    return wire.session_created(event_id(), formats.shown(session))
