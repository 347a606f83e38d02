"""Where a client takes a session up that knows itself what it has got, and what of its own is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.route import route_of, stream_of
from gateway.session import Route
from streams import turns
from streams.consumer import read
from streams.errors import StreamUnavailable
from streams.ids import ZERO, EntryId, next_useq
from streams.sessions import Session


@dataclass(frozen=True, slots=True)
class Numbers:
    """The newest numbering of a session's uplink, as the stream itself has it."""

    route: Route
    gen: int
    next: int
    """the number that is not stored yet"""
    known: bool
    """something was appended, so a worker has been told of the session"""


async def route_now(redis: Redis, session: Session, opened: turns.Opened) -> Route:
    """Which way what the client says goes: it may have gone over to other audio since (`gateway.source_change`).

    Raises StreamUnavailable.
    """
    if (route := route_of(opened)) == "up":
        return route
    return "up" if (await _id_at(redis, session.keys.up, newest=True)).right else "pcm"


async def numbers(redis: Redis, session: Session, route: Route) -> Numbers:
    """Raises StreamUnavailable."""
    last = await _id_at(redis, stream_of(session, route), newest=True)
    return Numbers(route, last.left, next_useq(last, last.left), known=last.right > 0)


async def resync_from(redis: Redis, session: Session, after: EntryId) -> EntryId | None:
    """Where `down` begins, if something behind `after` is not there any more, or `after` itself never was.

    Ids of one reign have no gaps, so what begins right behind `after` is whole. Of a trim between two reigns nobody knows
    how much it took: it counts as a gap. Raises StreamUnavailable.
    """
    first = await _id_at(redis, session.keys.down, newest=False)
    last = await _id_at(redis, session.keys.down, newest=True)
    if after > last:
        return first if last > ZERO else None
    return None if first <= after or first == EntryId(after.left, after.right + 1) else first


async def opened_as(redis: Redis, session: Session) -> turns.Opened | None:
    """How, where and for whom the session was opened; None when it is gone. Raises StreamUnavailable."""
    entries = await read(redis, session.keys.turns, turns.decoder, count=1)
    return opened if entries and isinstance(opened := entries[0].message, turns.Opened) else None


async def _id_at(redis: Redis, stream: str, *, newest: bool) -> EntryId:
    """Of the newest or the oldest entry; zero when the stream is gone."""
    try:
        page: Any = await (redis.xrevrange(stream, count=1) if newest else redis.xrange(stream, count=1))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    return EntryId.parse(page[0][0]) if page else ZERO
