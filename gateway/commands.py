"""What the app's backend says into a live session, whoever is connected to it, and wherever.

It goes where the client's words go, so that order is kept. A session of whole recordings moves from `pcm` to `up` with its
first recording, and what is appended to `pcm` after that could take an id that the transcoder needs. So the append itself
looks whether it has: see `_STILL_IN_PCM`.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.resources import files
from typing import Any

from redis.exceptions import RedisError

from gateway.backend import Backend
from gateway.route import ROLES
from streams import codec, turns, up
from streams.attach import say_ended
from streams.consumer import read
from streams.dispatch import hand_out, is_handed_out
from streams.errors import Over, StreamUnavailable
from streams.kept import UNSPOKEN
from streams.messages import End, Message
from streams.producer import Marked, Producer
from streams.sessions import Session
from streams.writer import INLINE_BYTES

logger = logging.getLogger(__name__)

_STILL_IN_PCM = b"""
if redis.call('HEXISTS', KEYS[2], 'up') == 1 then return {'moved', ''} end
"""

_RECORDINGS = "files"
"""The `source` of a session in `up` that may have said nothing there yet."""


async def command(backend: Backend, session: Session, opened: turns.Opened, message: Message, mark: str) -> None:
    """Store it behind all that was said. What has the same `mark` is stored once. Raises StreamError."""
    if await _goes_up(backend, session, opened) or not await _stored_in_pcm(backend, session, message, mark):
        await _tell_workers(backend, session, "up")
        producer = Producer(backend.writer, session.keys.up, Marked(mark))
        producer.append(message)
        await producer.flush()


async def end(backend: Backend, session: Session, opened: turns.Opened, message: End, mark: str) -> None:
    """End the session behind all that was said; at once where nobody was told of it. Raises StreamError."""
    if await is_spoken_in(backend, session):
        await command(backend, session, opened, message, mark)
        return
    await say_ended(backend.redis, session, message.reason)
    await backend.sessions.end(session, reason=UNSPOKEN, linger_ms=0)


async def end_here(backend: Backend, session: Session, reason: str) -> None:
    """End it without a bridge, where there is none that could. Raises StreamUnavailable."""
    await say_ended(backend.redis, session, reason)
    await backend.sessions.end(session, reason=reason, linger_ms=0)


async def is_spoken_in(backend: Backend, session: Session) -> bool:
    """Whether a bridge was ever told of the session. Raises StreamUnavailable."""
    return await is_handed_out(backend.redis, session, "bridge")


async def _tell_workers(backend: Backend, session: Session, route: Any) -> None:
    for role in ROLES[route]:
        await hand_out(backend.redis, session, role)


async def _goes_up(backend: Backend, session: Session, opened: turns.Opened) -> bool:
    """Whether all that is said in this session goes through a transcoder, from its first word on."""
    if opened.input is not None or await backend.sessions.last_id(session, "up") is not None:
        return True
    birth = await read(backend.redis, session.keys.up, up.decoder, count=1)
    return bool(birth) and isinstance(born := birth[0].message, up.GenOpened) and born.source != _RECORDINGS


async def _stored_in_pcm(backend: Backend, session: Session, message: Message, mark: str) -> bool:
    """False: the session has moved to `up` meanwhile. Raises Over, StreamUnavailable."""
    await _tell_workers(backend, session, "pcm")
    k, script = session.keys, _STILL_IN_PCM + files("streams").joinpath("append.lua").read_bytes()
    arguments: Any = ("marked", mark, 1, 1, INLINE_BYTES, *codec.encode(message))
    try:
        what, _ = await backend.redis.eval(script.decode(), 2, k.pcm, k.marks, *arguments)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{k.pcm}: {error}") from error
    if what == b"over":
        raise Over(k.pcm)
    return bool(what != b"moved")


async def gone(backend: Backend, key: str, within_s: float) -> bool:
    """Wait until there is no such key; False: there still is. Raises StreamUnavailable."""
    try:
        async with asyncio.timeout(within_s):
            while await backend.redis.exists(key):  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{key}: {error}") from error
    return True
