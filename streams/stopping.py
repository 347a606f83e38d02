"""An interruption, between a session's bridge and its client's gateway: said on the control channel, at once or never.

    bridge  ─▶ ["stop", {"stop": name, "parts": [[item, part], …]}]      send no more of these; how much of each was heard?
    gateway ─▶ ["stopped", {"stop": name, "heard": [[item, part, ms], …]}]     of those parts that it knows of
    gateway ─▶ ["played", {"item": item, "part": part, "ms": ms}]        reported at another gateway than its own

Whoever asks waits a fifth of a second at most, so that a word that is lost costs only precision. What is void in the end is
an entry of `down` (`Interrupted`), for every later replay.
"""

from __future__ import annotations

from typing import TypeVar

import msgpack
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import StreamUnavailable
from streams.sessions import Session

T = TypeVar("T", bound=msgspec.Struct)


class Stop(msgspec.Struct, frozen=True):
    stop: str
    """its name"""
    parts: tuple[tuple[str, int], ...]
    """(item, content index), in the order in which they are heard"""


class Stopped(msgspec.Struct, frozen=True):
    stop: str
    heard: tuple[tuple[str, int, int], ...]
    """(item, content index, ms)"""


class Played(msgspec.Struct, frozen=True):
    item: str
    part: int
    ms: int
    """of the part's audio"""


_WORDS: dict[type[msgspec.Struct], str] = {Stop: "stop", Stopped: "stopped", Played: "played"}


async def say(redis: Redis, session: Session, word: Stop | Stopped | Played) -> None:
    """Say it on the session's control channel. Raises StreamUnavailable."""
    argument = msgspec.json.encode(word).decode()
    try:
        await redis.spublish(session.keys.control, msgpack.packb([_WORDS[type(word)], argument]))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.control}: {error}") from error


def read(kind: type[T], argument: str) -> T | None:
    """What was said; None when it does not read."""
    try:
        return msgspec.json.decode(argument, type=kind)
    except msgspec.DecodeError:
        return None
