"""The operators' page and its API: who talks, over which door, how far behind; end a session, drain a gateway, look on.

  GET  /admin                                    the page
  GET  /admin/api/rights                         {"operate":bool,"listen":bool}
  GET  /admin/api/sessions[?limit=n&before=…|?user=…]   {"sessions":[…],"total":n,"next":…}, the newest first
  GET  /admin/api/sessions/<id>                  one of them
  GET  /admin/api/sessions/<id>/events[?audio=1&words=1]   Server-Sent Events, both sides as they come
  POST /admin/api/sessions/<id>/end              {"after_answer":bool}: 202
  GET  /admin/api/gateways                       {"gateways":[…]}
  POST /admin/api/gateways/<name>                {"drain":bool}: 202

Who asks shows one of PARLEY_ADMIN_KEYS as a bearer token, never in an address. Sound and words take one of
PARLEY_LISTEN_KEYS instead. Each request may come to any gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import msgspec
from aiohttp import web

from gateway.addresses import counted_as
from gateway.admission import address_of
from gateway.appkeys import BACKEND, OPERATORS, SETTINGS
from gateway.backend import Backend
from gateway.commands import end, end_here
from gateway.doors import admin_messages as wire
from gateway.doors import pages
from gateway.doors.openai_messages import sid_of
from gateway.errors import (
    AdminOff,
    ClientLeft,
    ConnectionOver,
    NoSuchGateway,
    NoSuchSession,
    RequestRefused,
    SessionEnded,
    SlowClient,
    TooManyWatchers,
)
from gateway.outbox import Frame
from gateway.refusing import refusing
from gateway.replay import opened_as
from gateway.transports.chunked import whole
from gateway.transports.sse import EventStream
from gateway.watching import watching
from runtime.logs import SessionLogger
from streams import gateways, overview
from streams.keys import new_sid
from streams.messages import End
from streams.sessions import Session

logger = logging.getLogger(__name__)

DOOR = "admin"

BODY_IDLE_S = 10.0

MAX_WATCHERS = 32
"""Operators that look on at one gateway at once: each has all of a session sent to it."""

_GONE = "There is no such session, or it has ended."


def routes() -> list[web.RouteDef]:
    one = "/admin/api/sessions/{id}"
    return [
        web.get("/admin", _page),
        web.get("/admin/api/rights", _rights),
        web.get("/admin/api/sessions", _sessions),
        web.get(one, _session),
        web.get(f"{one}/events", _events),
        web.post(f"{one}/end", _end),
        web.get("/admin/api/gateways", _gateways),
        web.post("/admin/api/gateways/{name}", _drain),
    ]


def _check(request: web.Request, *, acts: bool = False, listens: bool = False) -> None:
    """Raises what `Operators.check` does. Only a header counts: an address stands in logs and histories."""
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    key = shown.strip() if scheme.lower() == "bearer" and shown.strip() else None
    address = counted_as(address_of(request)) or "this machine"
    now = asyncio.get_running_loop().time()
    request.app[OPERATORS].check(key, address, now, acts=acts, listens=listens)


async def _page(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        if not request.app[OPERATORS]:
            raise AdminOff
        return pages.answer(request, "admin.html")


async def _rights(request: web.Request) -> web.Response:
    """What the key that is shown is good for."""
    with refusing(DOOR, _GONE):
        _check(request)
        rights = {"operate": {"acts": True}, "listen": {"listens": True}}
        return _json({name: _may(request, **needed) for name, needed in rights.items()})


def _may(request: web.Request, **needed: bool) -> bool:
    try:
        _check(request, **needed)
    except RequestRefused:
        return False
    return True


# ---- what there is ---------------------------------------------------------------------------------------------------


async def _sessions(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        _check(request)
        limit, before = wire.read_limit(request.query.get("limit")), wire.read_before(request.query.get("before"))
        redis, user = request.app[BACKEND].redis, request.query.get("user") or None
        return _json(await overview.page(redis, limit=limit, before=before, user=user))


async def _session(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        _check(request)
        line = await overview.line(request.app[BACKEND].redis, _sid(request))
        if line is None:
            raise NoSuchSession(_GONE)
        return _json(line)


async def _gateways(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        _check(request)
        return _json({"gateways": await gateways.listed(request.app[BACKEND].redis)})


def _sid(request: web.Request) -> str:
    sid = sid_of(request.match_info["id"])
    if sid is None:
        raise NoSuchSession(_GONE)
    return sid


async def _live(request: web.Request) -> Session:
    session = await request.app[BACKEND].sessions.by_sid(_sid(request))
    if session is None:
        raise NoSuchSession(_GONE)
    return session


# ---- what may be done ------------------------------------------------------------------------------------------------


async def _end(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        _check(request, acts=True)
        asked = wire.read_end(await whole(request, max_bytes=wire.MAX_BODY_BYTES, idle_s=BODY_IDLE_S))
        session = await _live(request)
        SessionLogger(logger, session.sid).warning("an operator at %s ends the session", address_of(request))
        await _end_session(request.app[BACKEND], session, after_answer=asked.after_answer)
        return _json({"stored": True}, status=202)


async def _end_session(backend: Backend, session: Session, *, after_answer: bool) -> None:
    """By its bridge, behind all that was said; here, where no bridge has it: there may be none for long."""
    line, opened = await overview.line(backend.redis, session.sid), await opened_as(backend.redis, session)
    if line is None or opened is None:
        raise NoSuchSession(_GONE)
    if line.state == "waiting":
        await end_here(backend, session, wire.ENDED_BY_OPERATOR)
    else:
        await end(backend, session, opened, End(wire.ENDED_BY_OPERATOR, after_answer), new_sid())


async def _drain(request: web.Request) -> web.Response:
    with refusing(DOOR, _GONE):
        _check(request, acts=True)
        asked = wire.read_drain(await whole(request, max_bytes=wire.MAX_BODY_BYTES, idle_s=BODY_IDLE_S))
        name = request.match_info["name"]
        if not await gateways.wish(request.app[BACKEND].redis, name, drain=asked.drain):
            raise NoSuchGateway
        logger.warning("an operator at %s wants %s to %s", address_of(request), name, _WANTS[asked.drain])
        return _json({"stored": True}, status=202)


_WANTS = {True: "send its clients away", False: "take clients again"}


# ---- looking on ------------------------------------------------------------------------------------------------------


async def _events(request: web.Request) -> web.StreamResponse:
    audio, words = (wire.read_flag(request.query.get(name)) for name in ("audio", "words"))
    async with AsyncExitStack() as stack:
        with refusing(DOOR, _GONE):
            _check(request, listens=audio or words)
            session = await _live(request)
            stack.enter_context(_place(request.app[WATCHERS]))
            entries = await stack.enter_async_context(watching(request.app[BACKEND], session))
        if audio or words:
            log = SessionLogger(logger, session.sid)
            log.warning("somebody at %s listens to the session, or reads what is said in it", address_of(request))
        settings = request.app[SETTINGS]
        stream = EventStream(send_timeout_s=settings.send_timeout_s, grace_s=settings.grace_s, headers=NO_STORE)
        response = await stream.open(request)
        over: ConnectionOver = SessionEnded()
        try:
            async for side, entry in entries:
                await stream.write(Frame("entry", msgspec.json.encode(wire.told(side, entry, audio=audio, words=words))))
            await stream.write(Frame("over", b"{}"))
        except (SlowClient, ClientLeft) as left:
            over = left
        finally:
            await stream.close(over)
        return response


class Watchers:
    """How many look on at this gateway."""

    def __init__(self) -> None:
        self.count = 0


WATCHERS = web.AppKey("watchers", Watchers)


@contextmanager
def _place(watchers: Watchers) -> Iterator[None]:
    """Raises TooManyWatchers."""
    if watchers.count >= MAX_WATCHERS:
        raise TooManyWatchers
    watchers.count += 1
    try:
        yield
    finally:
        watchers.count -= 1


NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=NO_STORE)
