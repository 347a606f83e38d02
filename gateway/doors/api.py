"""The door of the app's own backend: what was said in a session, and a hand in it while it lasts.

  GET    /v1/sessions?user=<user>[&limit=n]    the user's sessions, live ones and kept ones: {"sessions":[{"id",…},…]}
  GET    /v1/sessions/<id>                     the document (`streams.transcript`), so far or as kept
  DELETE /v1/sessions/<id>                     forget it: {"forgotten":true}; a live one ends first, and its client is told
  DELETE /v1/users/<user>                      forget all of theirs: {"forgotten":n}
  POST   /v1/sessions/<id>/text                {"text":…,"role":"user"|"system","respond":bool}: 202 {"stored":true}
  POST   /v1/sessions/<id>/instructions        {"instructions":…}: 202
  POST   /v1/sessions/<id>/end                 {"after_answer":bool}: 202

Who asks shows one of PARLEY_API_KEYS as a bearer token. A client with a device token may read and forget its own session.
Each request may come to any gateway. A POST that carries an `Idempotency-Key` may be sent again: it is stored once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from aiohttp import web

from gateway.admission import credential
from gateway.appkeys import API_KEYS, BACKEND, CALLS, POLICY
from gateway.backend import Backend
from gateway.commands import command, end
from gateway.doors import api_messages as wire
from gateway.doors.openai_messages import sid_of
from gateway.errors import ApiOff, ForBackend, NoApiKey, NoSuchSession, NotNow
from gateway.forgetting import forget_session, forget_user
from gateway.refusing import refusing
from gateway.replay import opened_as
from gateway.transports.chunked import whole
from streams import transcript, turns
from streams.keys import new_sid
from streams.messages import End
from streams.sessions import Session

DOOR = "api"

BODY_IDLE_S = 10.0
"""How long nothing of a body may come."""

GONE = "There is no such session, or it has ended and is not kept any more."


def routes() -> list[web.RouteDef]:
    one = "/v1/sessions/{id}"
    return [
        web.get("/v1/sessions", _list),
        web.get(one, _get),
        web.delete(one, _forget),
        web.delete("/v1/users/{user}", _forget_user),
        web.post(f"{one}/text", _command(wire.Text)),
        web.post(f"{one}/instructions", _command(wire.Instructions)),
        web.post(f"{one}/end", _command(wire.End)),
    ]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Whoever has made the request."""

    user: str | None
    """None: it is the app's backend, which may ask for everybody's"""

    def may_see(self, user: str) -> bool:
        return self.user is None or self.user == user


def _asker(request: web.Request) -> _Asker:
    """Raises ApiOff, NoApiKey, InvalidToken, WrongTokenType."""
    keys, verifier = request.app[API_KEYS], request.app[POLICY].verifier
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and keys.have(bearer.strip()):
        return _Asker(None)
    if not keys and verifier is None:
        raise ApiOff
    shown = credential(request)
    if shown is None or verifier is None:
        raise NoApiKey
    return _Asker(verifier.verify(shown, time.time()).user)


def backend_only(request: web.Request) -> None:
    """Raises what `_asker` does, ApiOff, ForBackend."""
    if _asker(request).user is not None:
        raise ForBackend if request.app[API_KEYS] else ApiOff


def sid_named(request: web.Request) -> str:
    sid = sid_of(request.match_info["id"])
    if sid is None:
        raise NoSuchSession(GONE)
    return sid


# ---- what was said ---------------------------------------------------------------------------------------------------


async def _document(backend: Backend, sid: str) -> bytes | None:
    kept = await backend.sessions.kept.of_ended(sid)
    if kept is not None:
        return kept
    session = await backend.sessions.by_sid(sid)
    live = None if session is None else await backend.sessions.kept.of_live(sid, session.at)
    return None if live is None else transcript.encode(live)


async def _seen(request: web.Request, asker: _Asker) -> bytes:
    """The session's document. Raises NoSuchSession, also when it is not the asker's."""
    document = await _document(request.app[BACKEND], sid_named(request))
    if document is None or not asker.may_see(wire.line_of(document).user):
        raise NoSuchSession(GONE)
    return document


async def _get(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        return json_response(await _seen(request, _asker(request)))


async def _list(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        backend_only(request)
        user, limit = wire.read_user(request.query.get("user")), wire.read_limit(request.query.get("limit"))
        backend, lines = request.app[BACKEND], list[wire.Line]()
        for sid in await backend.sessions.kept.of_user(user):
            if (document := await _document(backend, sid)) is not None:
                lines.append(wire.line_of(document))
        lines.sort(key=lambda line: line.opened_ms, reverse=True)
        return json_response(msgspec.json.encode({"sessions": lines[:limit]}))


# ---- forgetting ------------------------------------------------------------------------------------------------------


async def _forget(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        await _seen(request, _asker(request))
        await forget_session(request.app[BACKEND], sid_named(request))
        with _on_disk():
            await request.app[CALLS].forget(sid_named(request))
        return json_response(b'{"forgotten":true}')


async def _forget_user(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        backend_only(request)
        user = wire.read_user(request.match_info["user"])
        count = await forget_user(request.app[BACKEND], user)
        with _on_disk():
            await request.app[CALLS].forget_user(user)
        return json_response(msgspec.json.encode({"forgotten": count}))


@contextmanager
def _on_disk() -> Iterator[None]:
    """What was not deleted is to be asked for once more."""
    try:
        yield
    except OSError as error:
        raise NotNow from error


# ---- a hand in a live session ----------------------------------------------------------------------------------------


def _command(kind: type[wire.Command]) -> Callable[..., Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        with refusing(DOOR, GONE):
            backend_only(request)
            asked = wire.read(kind, await whole(request, max_bytes=wire.MAX_BODY_BYTES, idle_s=BODY_IDLE_S))
            session, opened = await _live(request)
            await _store(request, session, opened, asked)
            return json_response(b'{"stored":true}', status=202)

    return handle


async def _live(request: web.Request) -> tuple[Session, turns.Opened]:
    """Raises NoSuchSession."""
    backend = request.app[BACKEND]
    session = await backend.sessions.by_sid(sid_named(request))
    opened = None if session is None else await opened_as(backend.redis, session)
    if session is None or opened is None:
        raise NoSuchSession("There is no such session, or it has ended.")
    return session, opened


async def _store(request: web.Request, session: Session, opened: turns.Opened, asked: wire.Command) -> None:
    key = request.headers.get("Idempotency-Key")
    mark = new_sid() if key is None else hashlib.sha256(f"{request.path}\n{key}".encode()).hexdigest()
    backend, message = request.app[BACKEND], asked.message()
    if isinstance(message, End):
        await end(backend, session, opened, message, mark)
    else:
        await command(backend, session, opened, message, mark)


def json_response(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
