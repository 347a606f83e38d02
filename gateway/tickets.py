"""Tickets for browsers, which cannot send a header with a WebSocket or an EventSource, and should not put a token that is
good for days into an address.

A ticket is good for a minute and for one request, and only from the origin of the page that asked for it. Redis knows its
hash, not the ticket.
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


class _Ticket(msgspec.Struct, frozen=True):
    user: str
    origin: str | None
    """None: it was asked for by no browser; whoever did may pass it on to a page of theirs"""


def is_ticket(credential: str) -> bool:
    """Whether it is one, and no token."""
    return credential.startswith(PREFIX)


async def issue(redis: Redis, user: str | None, origin: str | None) -> str:
    """A new one. Raises AdmissionUnavailable.

    `user`: None where nobody is asked who they are; then nobody looks at tickets either, and none is kept.
    """
    ticket = PREFIX + secrets.token_urlsafe(32)
    if user is None:
        return ticket
    try:
        await redis.set(_key(ticket), msgspec.json.encode(_Ticket(user, origin)), px=TICKET_S * 1000)
    except (RedisError, OSError) as error:
        raise AdmissionUnavailable from error
    return ticket


async def redeem(redis: Redis, ticket: str, origin: str | None) -> str:
    """Whose it is; it is used up. Raises InvalidToken, AdmissionUnavailable."""
    try:
        stored = await redis.getdel(_key(ticket))
    except (RedisError, OSError) as error:
        raise AdmissionUnavailable from error
    if stored is None:
        raise InvalidToken
    found = msgspec.json.decode(stored, type=_Ticket)
    if found.origin is not None and found.origin != origin:
        raise InvalidToken
    return found.user


def _key(ticket: str) -> str:
    return keys.ticket(sha256(ticket.encode(errors="replace")).hexdigest())
