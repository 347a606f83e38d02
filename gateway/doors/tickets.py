"""`POST /v1/tickets`: a token for a ticket; see `gateway/tickets.py`."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.admission import admit, credential
from gateway.appkeys import BACKEND
from gateway.errors import InvalidToken
from gateway.tickets import TICKET_S, Ticket, is_ticket, issue

DOOR = "tickets"


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/tickets", _issue)]


async def _issue(request: web.Request) -> web.Response:
    caller = await admit(request, DOOR)
    if caller.among_users and is_ticket(credential(request) or ""):
        raise InvalidToken  # a ticket for a ticket would never end
    ticket = await issue(
        request.app[BACKEND].redis, Ticket(caller.user, request.headers.get("Origin"), record=caller.agrees)
    )
    body = msgspec.json.encode({"ticket": ticket, "expires_in": TICKET_S})
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
