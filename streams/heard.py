"""`parley:{sid}:heard`: what a recording needs beside the audio itself: when it is on, and what the client heard when.

Gateways write, the transcoder reads. An id is the time (ms) at which the entry was stored, by the server's clock; where a
session has this stream, each entry of `pcm` and `down` says by the same clock when it came (`append.lua`). So no clock of
a gateway or a worker counts: what they tell of a moment they tell as so many milliseconds from now.

A session has it from its birth on, or never. Nothing else is kept for a session of which nobody may be recorded.
"""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import codec
from streams.codec import Decoder
from streams.connection import text
from streams.dispatch import hand_out
from streams.errors import StreamUnavailable
from streams.ids import ZERO
from streams.messages import Message
from streams.sessions import Session


class Switched(Message, frozen=True, tag="switched"):
    """From here on the session is recorded, or is not."""

    on: bool
    by: str
    """who says so, and that the user agrees: `deployment`, `token`, `address`, `client` or `api`; empty: nobody has been
    asked yet"""


class Sound(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of one part of an answer, as it is heard without a break."""

    item: str
    part: int
    from_ms: float
    """where in the part it begins"""
    ms: float
    begins_ms: float
    """when it is heard, from now: mostly it is yet to come"""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """The client has said how far it is."""

    item: str
    part: int
    ms: float
    at_ms: float
    """when, from now"""


class Playing(Message, frozen=True, tag="playing"):
    """What a connection's client hears from some moment on, instead of all that was told of it from then on before."""

    connection: str
    after: str
    """of `down`: behind this it has taken the session up"""
    exact: bool
    """by the client's own word"""
    since_ms: float
    """the moment, from now"""
    sounds: tuple[Sound, ...]
    reports: tuple[Report, ...] = ()


class Left(Message, frozen=True, tag="left"):
    """A connection is over; its client plays what it has."""

    connection: str


HeardMessage = Switched | Playing | Left

decoder: Decoder[HeardMessage] = Decoder(HeardMessage)

# KEYS: heard, recorded, down, marks. ARGV: how it stands, then the fields. With the life of `down`.
_OPEN = """
local ttl = redis.call('PTTL', KEYS[3])
if ttl <= 0 then return 0 end
redis.call('HSET', KEYS[4], 'recorded', ARGV[1])
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ttl)
if string.sub(ARGV[1], 1, 1) == '1' then
  redis.call('HSET', KEYS[2], 'pcm', '0-0', 'down', '0-0')
  redis.call('PEXPIRE', KEYS[2], ttl)
end
return 1
"""

# KEYS: heard, recorded, the channel of play streams, marks. ARGV: how it stands, then the fields. 0: such a session is never
# recorded. Who hears on the channels looks.
_SWITCH = """
local ttl = redis.call('PTTL', KEYS[1])
if ttl <= 0 or redis.call('HEXISTS', KEYS[4], 'recorded') == 0 then return 0 end
redis.call('HSET', KEYS[4], 'recorded', ARGV[1])
if string.sub(ARGV[1], 1, 1) == '1' and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[2], 'pcm', '0-0', 'down', '0-0')
  redis.call('PEXPIRE', KEYS[2], ttl)
end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SPUBLISH', KEYS[1], '')
redis.call('SPUBLISH', KEYS[3], '')
return 1
"""

# KEYS: heard, recorded. Nothing for a session that is not recorded, or not yet.
_SAY = """
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if not redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', unpack(ARGV)) then return 0 end
redis.call('SPUBLISH', KEYS[1], '')
return 1
"""

# KEYS: recorded, heard. ARGV: up to where `heard` is done with ('': not at all), then field, value, … Nothing that is gone
# comes back by it.
_KEEP_PLACE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if ARGV[1] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[1]) end
return 1
"""


def _stands(switched: Switched) -> str:
    """As the marks have it."""
    return f"{int(switched.on)} {switched.by}"


async def open_heard(redis: Redis, session: Session, by: str) -> None:
    """Let a session that was just born be recorded: at once, or (`by` empty) when somebody says so.

    Raises StreamUnavailable.
    """
    k, switched = session.keys, Switched(on=bool(by), by=by)
    await _run(redis, _OPEN, (k.heard, k.recorded, k.down, k.marks), (_stands(switched), *codec.encode(switched)))
    if by:
        await hand_out(redis, session, "transcoder")


async def switch(redis: Redis, session: Session, *, on: bool, by: str) -> bool:
    """Record from here on, or do not. False: this session cannot be recorded, or has ended. Raises StreamUnavailable."""
    k, switched = session.keys, Switched(on=on, by=by)
    if on:
        await hand_out(redis, session, "transcoder")
    arguments = (_stands(switched), *codec.encode(switched))
    return bool(await _run(redis, _SWITCH, (k.heard, k.recorded, k.plays, k.marks), arguments))


async def say(redis: Redis, session: Session, message: HeardMessage) -> bool:
    """Whether anybody wants to know. Once: what is not answered is said anew, with the times as they are then.

    Raises StreamUnavailable.
    """
    k = session.keys
    return bool(await _run(redis, _SAY, (k.heard, k.recorded), tuple(codec.encode(message))))


async def is_recorded(redis: Redis, session: Session) -> bool:
    """Whether it is, or was and goes on being so after a pause. Raises StreamUnavailable."""
    return await _exists(redis, session.keys.recorded)


async def may_be_recorded(redis: Redis, session: Session) -> bool:
    """Raises StreamUnavailable."""
    return await _exists(redis, session.keys.heard)


async def switched(redis: Redis, session: Session) -> Switched | None:
    """How it stands; None: such a session is never recorded. Raises StreamUnavailable."""
    try:
        stands: Any = await redis.hget(session.keys.marks, "recorded")
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.marks}: {error}") from error
    if stands is None:
        return None
    on, _, by = text(stands).partition(" ")
    return Switched(on=on == "1", by=by)


async def keep_place(redis: Redis, session: Session, places: dict[str, str], heard: str) -> None:
    """A recording has come so far in `pcm` and `down`, and in this stream. Raises StreamUnavailable."""
    k = session.keys
    arguments = ("" if heard == str(ZERO) else heard, *(part for pair in places.items() for part in pair))
    await _run(redis, _KEEP_PLACE, (k.recorded, k.heard), arguments)


async def _exists(redis: Redis, key: str) -> bool:
    try:
        return bool(await redis.exists(key))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{key}: {error}") from error


async def _run(redis: Redis, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
    try:
        return await redis.eval(script, len(keys), *keys, *arguments)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys[0]}: {error}") from error
