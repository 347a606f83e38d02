"""When a client got what was said: said by its gateway, to the session's bridge, on the control channel, at once or never.

    gateway ─▶ ["reached", {"response": …, "what": "written", "at_ms": …}]   its first sound is on the client's wire
    gateway ─▶ ["reached", {"response": …, "what": "played", "at_ms": …}]    the client says that it has begun

One word or two an answer. A word that is lost leaves a hole in the record of a turn (`turns.Timed`), and nothing else.
"""

from __future__ import annotations

from typing import Literal

import msgpack
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.attach import read_control
from streams.errors import StreamUnavailable
from streams.sessions import Session

WORD = "reached"


class Reached(msgspec.Struct, frozen=True):
    """Times are of the gateway's clock, in milliseconds since 1970."""

    response: str
    what: Literal["written", "played"]
    at_ms: int


async def say(redis: Redis, session: Session, reached: Reached) -> None:
    """Raises StreamUnavailable."""
    word = msgpack.packb([WORD, msgspec.json.encode(reached).decode()])
    try:
        await redis.spublish(session.keys.control, word)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.control}: {error}") from error


def read(data: bytes) -> Reached | None:
    """What was said on the control channel, if it was this."""
    what, argument = read_control(data)
    if what != WORD:
        return None
    try:
        return msgspec.json.decode(argument, type=Reached)
    except msgspec.DecodeError:
        return None
