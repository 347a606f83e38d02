"""How a connection of the openai door begins, over WebSocket and over HTTP alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
from aiohttp import web

from gateway.appkeys import BACKEND, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.doors import openai_extension as extension
from gateway.doors import openai_messages as wire
from gateway.doors.openai_audio import Heard
from gateway.doors.openai_downlink import Frames, event_id, formats_of
from gateway.doors.openai_formats import NONE, PLAIN, Formats, named_as, taken_out
from gateway.doors.openai_shapes import Object, session_told
from gateway.errors import SessionNotFound, UnknownInput
from gateway.naming import Opened, new_session, resume
from gateway.outbox import Frame
from gateway.place import Place, on_the_way, place_of
from gateway.replay import numbers, opened_as, resync_from, route_now
from gateway.route import route_of, stream_of
from gateway.session import ClientSession, Route
from gateway.session_formats import keep
from streams import turns
from streams.ids import BIRTH, just_before
from streams.producer import open_left
from streams.sessions import Session, now_ms
from streams.sources import read_chunked
from streams.up import GenOpened

DOOR = "openai"
USER = "anonymous"
"""Whoever has not shown who they are."""

NO_LIMIT = 0
"""Of bytes that wait in an `Uplink`: this door has ways of its own."""


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
    greeting = frames.said(BIRTH, "session.created", _created(request, opened, begins, formats))
    greetings = (greeting if asked.streamed else replace(greeting, entry=None),)  # it is nothing that could be missed
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
        after = min(after, just_before(begins))
    place = Place(after, ClientSession(), exact=asked.after is not None)
    gen = stored.gen if asked.parley else None
    return Start(opened, frames, place, stored.known, gen, stored.next, tuple(greetings), route, source)


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
