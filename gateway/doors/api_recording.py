"""The recording of a session, for the app's own backend (`docs/recording.md`).

GET    /v1/sessions/<id>/recording           what is known of it
GET    /v1/sessions/<id>/recording/audio     left: the user, right: the model, as it was heard; Ogg/Opus or WAV
GET    /v1/sessions/<id>/recording/log       what happened, and when: JSON lines
POST   /v1/sessions/<id>/recording           {"action":"start"|"pause"|"resume","consent":true}: 202, of a live session
DELETE /v1/sessions/<id>/recording           delete the sound and the log; the rest of the session is kept
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.appkeys import BACKEND, CALLS
from gateway.call_recordings import About
from gateway.doors import api_messages as wire
from gateway.doors.api import BODY_IDLE_S, DOOR, GONE, backend_only, json_response, sid_named
from gateway.errors import NoConsent, NoSuchRecording, NotNow, NotRecordable
from gateway.refusing import refusing
from gateway.transports.chunked import whole
from streams import heard

CONTENT_TYPES = {"opus": "audio/ogg", "wav": "audio/wav"}


def routes() -> list[web.RouteDef]:
    one = "/v1/sessions/{id}/recording"
    return [
        web.get(one, _get),
        web.get(f"{one}/audio", _audio),
        web.get(f"{one}/log", _log),
        web.post(one, _switch),
        web.delete(one, _delete),
    ]


async def _about(request: web.Request) -> About:
    """Raises NoSuchRecording, NotNow."""
    try:
        about = await request.app[CALLS].about(sid_named(request))
    except OSError as error:
        raise NotNow from error
    if about is None:
        raise NoSuchRecording
    return about


async def _get(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        backend_only(request)
        about = await _about(request)
        told = msgspec.to_builtins(about)
        session = await request.app[BACKEND].sessions.by_sid(about.id)
        if session is not None and (switched := await heard.switched(request.app[BACKEND].redis, session)) is not None:
            told |= {"status": "recording" if switched.on else "paused"}
        return json_response(msgspec.json.encode(told))


async def _audio(request: web.Request) -> web.StreamResponse:
    with refusing(DOOR, GONE):
        backend_only(request)
        about = await _ready(request)
        headers = {"Content-Type": CONTENT_TYPES[about.format or "wav"], "Cache-Control": "no-store"}
        return web.FileResponse(request.app[CALLS].audio(about), headers=headers)


async def _log(request: web.Request) -> web.StreamResponse:
    with refusing(DOOR, GONE):
        backend_only(request)
        about = await _ready(request)
        headers = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        return web.FileResponse(request.app[CALLS].log(about), headers=headers)


async def _ready(request: web.Request) -> About:
    """Raises NoSuchRecording, also when it is not there yet."""
    about = await _about(request)
    if about.status != "ready":
        sentence = "The recording is there when the session has ended, and a moment later."
        raise NoSuchRecording(sentence if about.status == "recording" else "Nothing was said while it was on.")
    return about


async def _switch(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        backend_only(request)
        asked = wire.read_switch(await whole(request, max_bytes=wire.MAX_BODY_BYTES, idle_s=BODY_IDLE_S))
        backend, sid = request.app[BACKEND], sid_named(request)
        session = await backend.sessions.by_sid(sid)
        stands = None if session is None else await heard.switched(backend.redis, session)
        if session is None or stands is None:
            raise NotRecordable
        on = asked.action != "pause"
        if on and not stands.by and not asked.consent:
            raise NoConsent
        if on == stands.on or await heard.switch(backend.redis, session, on=on, by="api"):
            return json_response(b'{"stored":true}', status=202)
        raise NotRecordable


async def _delete(request: web.Request) -> web.Response:
    with refusing(DOOR, GONE):
        backend_only(request)
        about = await _about(request)
        if await request.app[BACKEND].sessions.by_sid(about.id) is not None:
            raise NotRecordable("The session is still being recorded: pause that, end the session, then delete it.")
        try:
            await request.app[CALLS].forget(about.id)
        except OSError as error:
            raise NotNow from error
        return json_response(b'{"forgotten":true}')
