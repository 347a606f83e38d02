"""Forget a session, or all that names a user. What is live ends first, and its client is told.

What is kept of it goes, what the app's backend was still to be told is not told, and a worker that hears late of it keeps
nothing either. Recordings in files, logs, and what the model's server has are not reached from here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import RedisError

from gateway.backend import Backend
from gateway.commands import command, end_here, gone, is_spoken_in
from gateway.replay import opened_as
from streams import keys, transcript
from streams.connection import text
from streams.errors import Over, StreamError, StreamUnavailable
from streams.kept import FORGOTTEN
from streams.messages import End
from streams.sessions import Session, now_ms
from streams.usage import DAY_MS, day_of

END_WITHIN_S = 5.0
"""What the bridge may take to end a session. One that cannot (there is none, or the model's server hangs) finds it gone."""

TOLD_WITHIN_S = 2.0
"""What the client's connection may take to say goodbye, before the last words go."""

AT_ONCE = 8


async def forget_session(backend: Backend, sid: str) -> bool:
    """Whether there was anything to forget. Raises StreamUnavailable."""
    kept, session = backend.sessions.kept, await backend.sessions.by_sid(sid)
    document = await kept.of_ended(sid)
    if session is None and document is None:
        return False
    await kept.forbid(sid)
    user = None if document is None else transcript.decode(document).user
    if session is not None:
        user, _ = keys.named_by(session.at)
        await _end(backend, session)
    await kept.forget(sid, user)
    return True


async def _end(backend: Backend, session: Session) -> None:
    k, opened = session.keys, await opened_as(backend.redis, session)
    if opened is not None and await is_spoken_in(backend, session):
        try:
            await command(backend, session, opened, End(FORGOTTEN), FORGOTTEN)
        except Over:
            pass
        except StreamUnavailable:
            raise
        except StreamError as error:
            raise StreamUnavailable(str(error)) from error
        if not await gone(backend, k.marks, END_WITHIN_S):
            await end_here(backend, session, FORGOTTEN)
    else:
        await end_here(backend, session, FORGOTTEN)
    await gone(backend, k.attach, TOLD_WITHIN_S)


async def forget_user(backend: Backend, user: str) -> int:
    """How many sessions there were. Raises StreamUnavailable."""
    places = asyncio.Semaphore(AT_ONCE)

    async def forget(sid: str) -> bool:
        async with places:
            return await forget_session(backend, sid)

    sids = await backend.sessions.kept.of_user(user)
    forgotten = await asyncio.gather(*(forget(sid) for sid in sids))
    await backend.sessions.kept.forget_user(user, await _others(backend, user))
    return sum(forgotten)


async def _others(backend: Backend, user: str) -> list[str]:
    """What else names the user: what was created by request, what counts against limits, and what was used on which day."""
    listing = keys.records(user)
    try:
        listed: list[Any] = await backend.redis.zrange(listing, 0, -1)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{listing}: {error}") from error
    records = [keys.record(text(each)) for each in listed]
    today = now_ms()
    days = [day_of(today - day * DAY_MS) for day in range(-1, keys.USAGE_TTL_MS // DAY_MS + 1)]
    return [
        listing,
        *records,
        *(keys.usage(user, day) for day in days),
        *(keys.limit(what, "user", user) for what in ("connections", "sessions", "records")),
    ]
