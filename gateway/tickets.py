"""Tickets for browsers, which cannot send a header with a WebSocket or an EventSource, and should not put a token that is
good for days into an address.

A ticket is good for a minute and for one request, and only from the origin of the page that asked for it. A client secret is
the same in the Realtime protocol's own shape: it is good for minutes or hours and for any number of requests, and may say
what the sessions begin with that are opened with it. Redis knows the hash, not the ticket.
"""

from __future__ import annotations

import secrets
from hashlib import sha256

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import AdmissionUnavailable, InvalidToken
from streams import keys

TICKET_S = 60

PREFIX = "ek_"
"""OpenAI's ephemeral keys begin so: the official SDK in a browser takes no other ones."""


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands behind one."""

    user: str | None
    """None: nobody was asked who they are"""
    origin: str | None = None
    """None: it was asked for by no browser; whoever did may pass it on to a page of theirs"""
    many: bool = False
    """it is used again and again, until it has run out"""
    session: str | None = None
    """what sessions opened with it begin with: JSON, of the Realtime protocol"""
    record: bool | None = None
    """what the token, or whoever asked for it, said of being recorded"""


def is_ticket(credential: str) -> bool:
    """Whether it is one, and no token."""
    return credential.startswith(PREFIX)


async def issue(redis: Redis, behind: Ticket, seconds: int = TICKET_S) -> str:
    """A new one, good for so long. Raises AdmissionUnavailable.

    Where nobody is asked who they are nobody looks at tickets either, and none is kept that says nothing else.
    """
    ticket = PREFIX + secrets.token_urlsafe(32)
    if behind.user is None and behind.session is None and behind.record is None:
        return ticket
    try:
        await redis.set(_key(ticket), msgspec.json.encode(behind), px=seconds * 1000)
    except (RedisError, OSError) as error:
        raise AdmissionUnavailable from error
    return ticket


async def redeem(redis: Redis, ticket: str, origin: str | None) -> Ticket:
    """What stands behind it; it is used up, unless it is for many. Raises InvalidToken, AdmissionUnavailable."""
    key = _key(ticket)
    try:
        found = _read(await redis.get(key))
        if found is not None and not found.many:
            found = _read(await redis.getdel(key))  # of two who have it one gets in
    except (RedisError, OSError) as error:
        raise AdmissionUnavailable from error
    if found is None or (found.origin is not None and found.origin != origin):
        raise InvalidToken
    return found


def _read(stored: bytes | str | None) -> Ticket | None:
    return None if stored is None else msgspec.json.decode(stored, type=Ticket)


def _key(ticket: str) -> str:
    return keys.ticket(sha256(ticket.encode(errors="replace")).hexdigest())
