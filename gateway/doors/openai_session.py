"""❽ What the openai door is over WebSocket and over HTTP alike: how a connection begins, and what its client is told."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from secrets import token_hex

import msgspec
from aiohttp import web

from gateway.appkeys import BACKEND, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.connections import Connection, Place, on_the_way, place_of
from gateway.doors import openai_messages as wire
from gateway.errors import ConnectionOver, DoorError, NotAdmitted, NoToken, SessionNotFound
from gateway.naming import Opened, new_session, resume
from gateway.outbox import Frame
from gateway.refusals import Farewell
from gateway.replay import numbers, opened_as, resync_from
from gateway.session import ClientSession
from streams import down, turns
from streams.ids import BIRTH, EntryId
from streams.producer import open_left
from streams.sessions import Session, now_ms
from streams.up import GenOpened

DOOR = "openai"
USER = "anonymous"
"""Whoever has not shown who they are."""

INVALID_KEY = 3000
"""The protocol's own close code for it."""

NO_LIMIT = 0
"""Of bytes that wait in an `Uplink`: this door has ways of its own."""


# ---- what the client is told ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frames:
    """How one client is told things."""

    sid: str
    dids: bool
    """it has asked for our extension"""
    streamed: bool = False
    """over Server-Sent Events, where an event stands on one line under a name, and its place is its id"""

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

    @property
    def _prefix(self) -> str:
        return f"{self.sid}/" if self.streamed else ""


def event_id() -> str:
    return f"event_{token_hex(10)}"


async def downlink(connection: Connection, frames: Frames) -> None:
    """Say all that the session says, in order, until it ends."""
    async with aclosing(connection.downlink.entries()) as entries:
        try:
            async for entry in entries:
                frame = _frame(connection, frames, entry.id, entry.message)
                if frame is not None:
                    await connection.outbox.put(frame)
                connection.said(entry.id)
        except ConnectionOver as over:
            connection.outbox.finish(over)  # what was said last is sent before the goodbye


def _frame(connection: Connection, frames: Frames, did: EntryId, message: down.DownMessage) -> Frame | None:
    """What the client is told of an entry; None for what it need not know."""
    match message:
        case down.Audio(item=item):
            data = wire.audio_delta(did, message)
            return frames.said(did, "audio", data, item, event="response.output_audio.delta")
        case down.ServerEvent("session.updated", body):
            updated = wire.session_updated(bytes(body), frames.sid)
            return frames.said(did, "event", updated, event="session.updated")
        case down.ServerEvent(kind, body):
            return frames.said(did, "event", bytes(body), event=kind)
        case down.Failed(code, _):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
            connection.log.info("the client is told of a failure: %s", code)
            return frames.said(did, "error", wire.failed(event_id(), message))
        case down.Interrupted(item=item):
            connection.outbox.void(item)
            return None
        case down.Opened() | down.EpochTaken() | down.PersonaSet() | down.Ended():
            return None


def farewell(error: NotAdmitted) -> Farewell:
    """What this protocol says to who is not admitted: an `error` event, and a close whose reason names it."""
    if error.fault != "client":
        return Farewell(error.close_code, str(error), wire.error(event_id(), error))
    code = None if isinstance(error, NoToken) else "invalid_api_key"
    reason = "invalid_request_error" if code is None else f"invalid_request_error.{code}"
    return Farewell(INVALID_KEY, reason, wire.not_admitted(event_id(), str(error), code))


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
    streamed: bool = False

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
    how = turns.Opened(user=asked.user, door=DOOR, turn_mode="server_vad", numbered=asked.parley)
    opened = await new_session(backend, how)
    app[METRICS].sessions.labels(DOOR).inc()
    gen = None
    if asked.parley:
        async with on_the_way(backend, opened):
            gen = await open_left(backend.writer, opened.session.keys.pcm, GenOpened(source="pcm16"), now_ms())
    frames = Frames(opened.session.sid, asked.parley, asked.streamed)
    greetings = (frames.said(BIRTH, "session.created", _created(request, opened)),)
    return Start(opened, frames, Place(BIRTH, ClientSession()), known=False, gen=gen, greetings=greetings)


async def _start_again(request: web.Request, asked: Asked, named: str) -> Start:
    backend = request.app[BACKEND]
    session, _ = await found(backend, asked.user, named)
    opened = await resume(backend, session.sid)
    if opened is None:
        raise SessionNotFound
    async with on_the_way(backend, opened):
        return await _gone_on_with(request, asked, opened)


async def _gone_on_with(request: web.Request, asked: Asked, opened: Opened) -> Start:
    backend, session = request.app[BACKEND], opened.session
    stored = await numbers(backend.redis, session)
    place = await place_of(backend, opened)
    frames = Frames(session.sid, asked.parley, asked.streamed)
    if not asked.parley and not asked.streamed:
        greeting = frames.reply("session.created", _created(request, opened))
        return Start(opened, frames, place, known=stored.known, greetings=(greeting,))
    # What cannot be read is the beginning: the client is told again what it may have.
    after = place.after if asked.after is None else wire.read_did(asked.after) or BIRTH
    greetings = [frames.reply("parley.resumed", wire.resumed(session.sid, stored.next, after))]
    begins = await resync_from(backend.redis, session, after)
    if begins is not None:
        greetings.append(frames.reply("parley.resync", wire.resync(after, begins)))
        after = min(after, EntryId(begins.left, begins.right - 1) if begins.right else EntryId(begins.left - 1, 0))
    place = Place(after, ClientSession())
    gen = stored.gen if asked.parley else None
    return Start(opened, frames, place, stored.known, gen, stored.next, tuple(greetings))


def _created(request: web.Request, opened: Opened) -> bytes:
    settings = request.app[SETTINGS]
    return wire.session_created(
        opened.session.sid,
        event_id(),
        model=settings.openai_realtime_model,
        transcription_model=settings.transcription_model,
    )
