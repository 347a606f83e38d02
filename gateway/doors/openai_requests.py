"""What the requests of the openai door have in common: whose session they are about, and what becomes of what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
from aiohttp import web

from gateway.appkeys import BACKEND
from gateway.backend import Backend
from gateway.caller import Caller
from gateway.doors.openai_session import USER, found
from gateway.errors import NoSuchSession, NotNow, SessionNotFound
from gateway.replay import Numbers, numbers, route_now
from gateway.route import stream_of
from runtime.logs import SessionLogger
from streams import turns
from streams.errors import Over, StreamError, StreamUnavailable
from streams.sessions import Session

logger = logging.getLogger(__name__)


async def named(request: web.Request, caller: Caller) -> tuple[Session, turns.Opened]:
    """The caller's session, and how it was opened. Raises NoSuchSession, NotNow."""
    try:
        return await found(request.app[BACKEND], caller.user_or(USER), request.query.get("session", ""))
    except SessionNotFound:
        raise NoSuchSession from None
    except StreamUnavailable:
        raise NotNow from None


async def numbers_now(backend: Backend, session: Session, opened: turns.Opened) -> Numbers:
    """What of the session is stored. Raises Over, StreamUnavailable."""
    stored = await numbers(backend.redis, session, await route_now(backend.redis, session, opened))
    if not stored.gen:
        raise Over(stream_of(session, stored.route))
    return stored


@contextmanager
def refusals(session: Session) -> Iterator[None]:
    """What goes wrong in Redis, as an answer."""
    try:
        yield
    except Over:
        raise NoSuchSession from None
    except StreamError as error:
        SessionLogger(logger, session.sid).warning("what the client said could not be stored: %s", error)
        raise NotNow from None


def json_answer(answer: Mapping[str, object], *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")
