"""❶❽ The openai door for whoever may not open a WebSocket: the same events over HTTP, Server-Sent Events down, POST up.

  GET  /v1/realtime/sse?model=…[&parley=1][&session=<id>&after=<did>]     what the session says, one event after the other:
                                              `event: <type>`, `id: <sid>/<did>`, `data: <the event as over WebSocket>`
       comes first: session.created, or parley.resumed; the id goes on with `Last-Event-ID` by itself, as EventSource does
       &audio=opus and the like: answers at another rate or coded, see `gateway.doors.openai_audio`
       comes last: parley.closed {"code":…,"reason":…}, what a WebSocket's close says. After 4409 do not come back
  POST /v1/realtime/events?session=<id>       an event, or an array of events in order
       numbered (a session opened with parley=1)     200 {"acked":n,"next_useq":n+1}, or 409 {"want":n}
       others                                        200 {"stored":k}
       both "errors": [{"useq" or "index":…,"error":…}]   what was refused; it is told on the stream too
  POST /v1/realtime/audio?session=<id>        PCM16 24 kHz mono as it is recorded, cut anywhere: 200 {"samples":n}
                                              of a session opened with `input=…`: its bytes, 200 {"bytes":n}
  POST /v1/realtime/end?session=<id>          {"ended":true}

Each request may come to another gateway. A stream that breaks leaves the session for the grace time, and the newest stream
has it. Refusals are JSON, `{"error": "a sentence"}`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from gateway.admission import admit, admitted
from gateway.allowance import seconds_of
from gateway.appkeys import BACKEND, BODIES, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.caller import Caller
from gateway.connections import Connection
from gateway.doors import openai_extension as extension
from gateway.doors import openai_messages as wire
from gateway.doors.openai_audio import read_query
from gateway.doors.openai_batch import Batch, events_of, numbered, plain
from gateway.doors.openai_downlink import Frames, downlink, event_id, formats_of
from gateway.doors.openai_formats import in_up
from gateway.doors.openai_refusals import refuse_beta
from gateway.doors.openai_requests import json_answer, named, numbers_now, refusals
from gateway.doors.openai_session import DOOR, NO_LIMIT, USER, Asked, Start, input_of, source_of, start
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    NoSuchSession,
    NotNow,
    SessionNotFound,
    SlowClient,
    SlowDown,
    TooFast,
)
from gateway.limits import Room
from gateway.listening import Listening
from gateway.live_uplink import FormatChange
from gateway.place import on_the_way
from gateway.posting import keep_place, post, post_change, post_end, post_numbered
from gateway.replay import Numbers
from gateway.transports.chunked import whole
from gateway.transports.lasting import CLOSE_TIMEOUT_S
from gateway.transports.sse import EventStream, was_replaced
from streams import pcm, stopping, turns
from streams.attach import tell
from streams.errors import Over, StreamUnavailable, Wanted
from streams.sessions import Session

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 16 << 20
"""Of one request's events; the largest event is openai_messages.MAX_EVENT_CHARS."""

EVENTS_IDLE_S = 20.0
"""How long nothing may come of a request's events."""

MAX_TOLD = 16
MAX_TOLD_BYTES = 4 << 10
"""Of the mistakes of one request that are told on the stream too: so many, each of at most this size. Its answer has all."""


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/realtime/sse", _listen, allow_head=False),
        web.post("/v1/realtime/events", _events),
        web.post("/v1/realtime/end", _end),
    ]


# ---- down -----------------------------------------------------------------------------------------------------------


class Events(EventStream):
    """The stream of one client. It ends with the reason, which HTTP has no other place for."""

    async def close(self, over: ConnectionOver) -> None:
        """As of every event stream; `parley.closed` comes before."""
        if over.close_code is not None:
            data = extension.closed(over.close_code, str(over))
            with suppress(ClientLeft, SlowClient, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.write_last(Frames("", dids=False).reply("parley.closed", data), over)
        await super().close(over)


async def _listen(request: web.Request) -> web.StreamResponse:
    """One stream, from its first event to the last."""
    async with admitted(request, DOOR) as caller:
        refuse_beta(request)
        if was_replaced(request):
            return web.Response(status=204)
        asked, redials = _asked(request, caller)
        async with request.app[LIMITS].session(caller, resumes=asked.resumes) as room:
            return await _listen_in(request, asked, room, redials=redials)


async def _listen_in(request: web.Request, asked: Asked, room: Room, *, redials: bool) -> web.StreamResponse:
    app = request.app
    try:
        begun = await start(request, asked)
    except SessionNotFound:
        if redials:
            return web.Response(status=204)  # an EventSource redials for ever, unless it is told so
        raise NoSuchSession from None
    except (StreamUnavailable, Over):
        raise NotNow from None
    events = Events(send_timeout_s=app[SETTINGS].send_timeout_s, grace_s=app[SETTINGS].grace_s)
    async with on_the_way(app[BACKEND], begun.opened):
        response = await events.open(request)
    connection = _connection(request, events, begun)
    with app[CONNECTIONS].joined(connection):
        await connection.run(downlink(connection, app[BACKEND], begun.frames), room.is_for(begun.frames.sid))
    return response


def _asked(request: web.Request, caller: Caller) -> tuple[Asked, bool]:
    """And whether a client of this session redials."""
    query, user = request.query, caller.user_or(USER)
    parley = query.get("parley") == "1" or request.headers.get("X-Parley") == "1"
    session, slash, did = request.headers.get("Last-Event-ID", "").partition("/")
    heard = read_query(query)
    if slash:
        return Asked(user, parley, session, did, heard, streamed=True), True
    named = query.get("session") or None
    asked = Asked(
        user,
        parley,
        named,
        query.get("after"),
        heard,
        streamed=True,
        input=input_of(request),
        cuts_answers=query.get("barge_in") == "server",
        begins=caller.session,
        recorded_by=caller.recorded_by,
    )
    return asked, False


def _connection(request: web.Request, events: Events, begun: Start) -> Connection:
    backend = request.app[BACKEND]
    connection = Connection(
        DOOR,
        events,
        begun.opened,
        backend,
        request.app[METRICS],
        begun.frames.error,
        place=begun.place,
        max_waiting_bytes=NO_LIMIT,
        way=Listening(comes_back=True, asks=True),
    )

    def told(event: str) -> None:
        try:
            connection.outbox.reply(begun.frames.reply("error", event.encode()))
        except SlowClient as over:
            connection.over(over)

    connection.on_told = told
    for frame in begun.greetings:
        connection.outbox.reply(frame)
    return connection


# ---- up -------------------------------------------------------------------------------------------------------------


async def _events(request: web.Request) -> web.Response:
    caller = await admit(request, DOOR)
    session, opened = await named(request, caller)
    with request.app[BODIES].held_by(caller.user or caller.address) as came:
        body = await whole(request, max_bytes=MAX_BATCH_BYTES, idle_s=EVENTS_IDLE_S, came=came)
        return await _events_in(request, session, opened, events_of(body))


async def _events_in(request: web.Request, session: Session, opened: turns.Opened, events: Sequence[bytes]) -> web.Response:
    backend = request.app[BACKEND]
    with refusals(session):
        stored = await numbers_now(backend, session, opened)
        chunked = stored.route == "up"
        batch = numbered(events, stored.next, chunked=chunked) if opened.numbered else plain(events, chunked=chunked)
        _spend(request, session, batch)
        _count(request, batch)
        want = batch.want
        try:
            await _post_batch(backend, session, opened, stored, batch)
        except Wanted as wanted:
            want = int(wanted.after) + 1
        await _keep_places(backend, session, batch)
    errors = await _refuse(backend, session, batch, want)
    answer: dict[str, object] = {}
    if want is not None:
        answer["want"] = want
    elif opened.numbered:
        next_useq = stored.next + len(batch.messages)
        answer |= {"acked": next_useq - 1, "next_useq": next_useq}
    else:
        answer["stored"] = batch.stored
    return json_answer(answer | {"errors": errors}, status=200 if want is None else 409)


async def _post_batch(backend: Backend, session: Session, opened: turns.Opened, stored: Numbers, batch: Batch) -> None:
    """Raises StreamError, and Wanted as `post_numbered` does."""
    send, rest = post_numbered if opened.numbered else post, batch.messages
    if batch.formats:
        first, rest = rest[: batch.names_at], rest[batch.names_at :]
        await send(backend, session, stored, first)
        if opened.numbered:
            stored = replace(stored, next=stored.next + len(first))
        source = batch.formats.source
        is_other = source is not None and source != source_of(opened, stored.route, await formats_of(backend, session))
        change = FormatChange(batch.formats.input, batch.formats.output, in_up(source) if source and is_other else None)
        stored = await post_change(backend, session, stored, change)
    await send(backend, session, stored, rest)


def _spend(request: web.Request, session: Session, batch: Batch) -> None:
    """All of it or nothing. Raises SlowDown."""
    seconds = sum(seconds_of(message.audio) for message in batch.messages if isinstance(message, pcm.Audio))
    try:
        request.app[LIMITS].allowance(session.sid).take(seconds, time.monotonic())
    except TooFast as error:
        raise SlowDown(error) from None


async def _keep_places(backend: Backend, session: Session, batch: Batch) -> None:
    if batch.received is not None:
        await keep_place(backend, session, "arrived", batch.received)
    if batch.played is not None:
        await keep_place(backend, session, "played", batch.played)
    if batch.played_at is not None:
        await stopping.say(backend.redis, session, batch.played_at)


def _count(request: web.Request, batch: Batch) -> None:
    received, errors = request.app[METRICS].messages, request.app[METRICS].errors
    for kind in batch.kinds:
        received.labels(DOOR, "received", kind).inc()
    for _, mistake in batch.mistakes:
        received.labels(DOOR, "received", "refused").inc()
        errors.labels(DOOR, mistake.code).inc()


async def _refuse(backend: Backend, session: Session, batch: Batch, want: int | None) -> list[Mapping[str, Any]]:
    """Tell the mistakes where the client listens, and give them for the answer; but none that are to come again."""
    errors: list[Mapping[str, Any]] = []
    for index, mistake in batch.mistakes:
        if want is not None and mistake.useq is not None and mistake.useq >= want:
            continue
        event = wire.error(event_id(), mistake)
        place = {"index": index} if mistake.useq is None else {"useq": mistake.useq}
        errors.append({**place, "error": msgspec.json.decode(event)["error"]})
        if len(errors) <= MAX_TOLD and len(event) <= MAX_TOLD_BYTES:
            with suppress(StreamUnavailable):
                await tell(backend.redis, session, event.decode())
    return errors


async def _end(request: web.Request) -> web.Response:
    """Also when it has ended already; but what is somebody else's is not ended."""
    backend = request.app[BACKEND]
    try:
        session, opened = await named(request, await admit(request, DOOR))
        with refusals(session):
            await post_end(backend, session, await numbers_now(backend, session, opened), "client_left")
    except NoSuchSession:
        if not await _is_gone(backend, request.query.get("session", "")):
            raise
    return json_answer({"ended": True})


async def _is_gone(backend: Backend, named: str) -> bool:
    """Whether there may have been such a session, and is none. Raises NotNow."""
    sid = wire.sid_of(named)
    try:
        return sid is not None and await backend.sessions.by_sid(sid) is None
    except StreamUnavailable:
        raise NotNow from None
