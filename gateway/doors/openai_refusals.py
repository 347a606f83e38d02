"""Who is not admitted by the openai door, and how that is said in its protocol."""

from __future__ import annotations

from aiohttp import web

from gateway.doors import openai_messages as wire
from gateway.doors.openai_downlink import event_id
from gateway.doors.openai_session import DOOR
from gateway.errors import BetaShape, NotAdmitted, NoToken
from gateway.refusals import Farewell

INVALID_KEY = 3000
"""The protocol's own close code for it."""

BETA_SHAPE = 4000
"""And for this."""

BETA_PROTOCOL = "openai-beta.realtime-v1"
"""How a browser, which can send no header, says `OpenAI-Beta: realtime=v1`."""


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
