"""`POST /v1/realtime/client_secrets`: what an app's server mints for its pages, in the Realtime protocol's own shape.

  ─▶ {"expires_after": {"anchor": "created_at", "seconds": 10 to 7200, else 600}, "session": {"type": "realtime", …},
      "record": true or false}
  ◀─ {"value": "ek_…", "expires_at": seconds since 1970, "session": {…}}

All may be left out. Sessions that are opened with the secret belong to the user whose token it was minted with. They begin
with `session`, as far as the deployment leaves it to its clients, which may change it. `record` (ours): whether the user
agrees to be recorded; where the token says no, it counts.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from gateway.admission import admit, credential
from gateway.appkeys import BACKEND, SETTINGS
from gateway.doors import openai_messages as wire
from gateway.doors.openai_formats import taken_out
from gateway.doors.openai_session import DOOR
from gateway.doors.openai_shapes import session_told
from gateway.errors import InvalidRequest, InvalidToken
from gateway.tickets import Ticket, is_ticket, issue
from gateway.transports.chunked import whole
from streams.keys import new_sid

DEFAULT_S = 600

MAX_BODY_BYTES = 256 << 10
"""Instructions and tools of a session; more than any model takes."""

BODY_IDLE_S = 10.0


class _Expiry(msgspec.Struct):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, msgspec.Meta(ge=10, le=7200)] = DEFAULT_S


class _Asked(msgspec.Struct):
    expires_after: _Expiry = msgspec.field(default_factory=_Expiry)
    session: msgspec.Raw = msgspec.Raw(b"null")
    record: bool | None = None


class _Session(msgspec.Struct):
    type: Literal["realtime"]


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/realtime/client_secrets", _mint)]


async def _mint(request: web.Request) -> web.Response:
    caller = await admit(request, DOOR)
    if caller.among_users and is_ticket(credential(request) or ""):
        raise InvalidToken  # a secret for a secret would never end
    try:
        asked = _read(await whole(request, max_bytes=MAX_BODY_BYTES, idle_s=BODY_IDLE_S))
    except InvalidRequest as error:  # as the SDKs, which quote no other, expect it
        detail = {"message": str(error), "type": "invalid_request_error", "code": error.code, "param": None}
        return web.Response(body=wire.encode({"error": detail}), status=400, content_type="application/json")
    seconds, settings = asked.expires_after.seconds, request.app[SETTINGS]
    begins = _begins(asked)
    record = caller.agrees if asked.record is None or caller.agrees is False else asked.record
    behind = Ticket(caller.user, request.headers.get("Origin"), many=True, session=begins, record=record)
    value = await issue(request.app[BACKEND].redis, behind, seconds)
    told = session_told(
        new_sid(),  # of no session: there is none yet
        model=settings.openai_realtime_model,
        transcription_model=settings.transcription_model,
        begins=None if begins is None else msgspec.json.decode(begins),
    )
    body = wire.encode({"value": value, "expires_at": int(time.time()) + seconds, "session": told})
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _read(body: bytes) -> _Asked:
    try:
        asked = msgspec.json.decode(body or b"{}", type=_Asked)
        if _begins(asked) is not None:
            msgspec.json.decode(asked.session, type=_Session)
            taken_out(msgspec.json.decode(asked.session))
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"The client secret cannot be made: {error}.") from error
    except RecursionError:
        raise InvalidRequest("The client secret cannot be made: it is nested too deeply.") from None
    except wire.Mistake as mistake:
        raise InvalidRequest(str(mistake)) from mistake
    return asked


def _begins(asked: _Asked) -> str | None:
    text = bytes(asked.session).decode()
    return None if text == "null" else text
