"""Who may come in, and as whom; and which web pages may ask.

A door calls `admit` before it does anything else, in particular before it answers a WebSocket's handshake. What `admit`
raises is told to the client by `gateway.refusals`, in the door's own words.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from redis.asyncio import Redis

from gateway.addresses import client_address, is_trusted
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, POLICY, SETTINGS
from gateway.auth import Verifier
from gateway.caller import Caller
from gateway.consent import recorded_by
from gateway.errors import ForbiddenOrigin, InvalidToken, NotAdmitted, NotNow, NoToken, Restarting
from gateway.origins import is_allowed
from gateway.replay import opened_as
from gateway.tickets import Ticket, is_ticket, redeem
from streams.sessions import Session

__all__ = ["Caller", "admit", "admitted", "check_origin", "credential", "host_of", "owned_by", "scheme_of"]

_PROTOCOL = "openai-insecure-api-key."
"""Begins a subprotocol that is none, but a key: browsers can send no header. OpenAI's own way."""


async def admit(request: web.Request, door: str) -> Caller:
    """Let the maker of this request in, or raise NotAdmitted."""
    try:
        return await _admit(request, door)
    except NotAdmitted as error:
        error.door = door
        raise


@asynccontextmanager
async def admitted(request: web.Request, door: str) -> AsyncIterator[Caller]:
    """`admit`, for a connection that lasts: it counts as one of its user's, and of its address's, while the context does.

    To be entered before a WebSocket's handshake is answered. Raises NotNow while this process stops, NotAdmitted, TooMany.
    """
    if request.app[CONNECTIONS].draining:
        restarting = NotNow(str(Restarting()))
        restarting.door = door
        raise restarting
    caller = await admit(request, door)
    async with request.app[LIMITS].connection(caller):
        yield caller


async def _admit(request: web.Request, door: str) -> Caller:
    policy, address = request.app[POLICY], address_of(request)
    shown = credential(request)
    if policy.mode == "off" or policy.verifier is None:
        behind = Ticket(None) if shown is None or not is_ticket(shown) else await _unasked(request, shown)
        return Caller(None, address, door=door, session=behind.session, recorded_by=_recorded_by(request, behind))
    if shown is not None:
        behind = await _known(request, shown, policy.verifier)
        recorded = _recorded_by(request, behind)
        return Caller(
            behind.user,
            address,
            among_users=True,
            door=door,
            session=behind.session,
            agrees=behind.record,
            recorded_by=recorded,
        )
    if policy.needs_token(door):
        raise NoToken
    return Caller(None, address, among_users=True, door=door, recorded_by=_recorded_by(request, Ticket(None)))


def _recorded_by(request: web.Request, behind: Ticket) -> str | None:
    return recorded_by(request.app[SETTINGS].record, request.query, behind.record)


async def _known(request: web.Request, shown: str, verifier: Verifier) -> Ticket:
    """Whose the token or the ticket is, and what it says of sessions. Raises NotAdmitted."""
    if not is_ticket(shown):
        device = verifier.verify(shown, time.time())
        return Ticket(device.user, record=device.record)
    behind = await redeem(request.app[BACKEND].redis, shown, request.headers.get("Origin"))
    if behind.user is None:
        raise InvalidToken  # from a time when nobody was asked
    return behind


async def _unasked(request: web.Request, shown: str) -> Ticket:
    """What a client secret says of sessions, where nobody is asked who they are: any key is as good as another."""
    try:
        return await redeem(request.app[BACKEND].redis, shown, request.headers.get("Origin"))
    except NotAdmitted:
        return Ticket(None)


async def owned_by(redis: Redis, session: Session, caller: Caller, otherwise: str) -> bool:
    """Whether this caller has opened it; `otherwise` as in `user_or`. False when it is gone. Raises StreamUnavailable.

    To be asked before anything is done with a session that a client names. Another user's is told as if it was not there.
    """
    opened = await opened_as(redis, session)
    return opened is not None and opened.user == caller.user_or(otherwise)


def credential(request: web.Request) -> str | None:
    """The token or ticket that came with a request; None when there was none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for name in ("token", "ticket"):
        if value := request.query.get(name, ""):
            return value
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    keys = [protocol.strip().removeprefix(_PROTOCOL) for protocol in offered if protocol.strip().startswith(_PROTOCOL)]
    return next(filter(None, keys), None)


def address_of(request: web.Request) -> str:
    """The client's address: the peer's, or what a proxy says that is trusted."""
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
    return client_address(request.remote or "", forwarded, request.app[POLICY].proxies)


def scheme_of(request: web.Request) -> str | None:
    """`http` or `https`, as the client used it; None when a proxy may be in between that is not trusted to tell."""
    if request.secure:
        return "https"
    told = _forwarded(request, "X-Forwarded-Proto")
    return told.lower() if told is not None else None


def host_of(request: web.Request) -> str:
    """Host and port, as the client used them."""
    return _forwarded(request, "X-Forwarded-Host") or request.host


def check_origin(request: web.Request) -> None:
    """Raises ForbiddenOrigin: a browser sends this on behalf of a page that is none of ours."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    allowed = request.app[POLICY].origins
    if not is_allowed(origin, host=host_of(request), scheme=scheme_of(request), allowed=allowed):
        raise ForbiddenOrigin


def _forwarded(request: web.Request, header: str) -> str | None:
    """What the outermost proxy says, if the one next to us is trusted."""
    if not is_trusted(request.remote or "", request.app[POLICY].proxies):
        return None
    return request.headers.get(header, "").split(",")[0].strip() or None
