"""Which session a client of a door without tokens gets: the one it was cut off from, or one of its own.

Two phones in the field may share one hard-coded user id. So a name may stand for several sessions (`ann`, `ann~1`, `ann~2`,
…), and a newcomer resumes only one that is detached: the one that was left last. While the old connection's client still
answers a ping, it is a stranger, and the newcomer gets a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from gateway.backend import Backend
from streams import keys, turns
from streams.attach import Attachment, is_alive, presence
from streams.connection import text
from streams.errors import StreamUnavailable
from streams.heard import open_heard
from streams.sessions import Session

DEFAULT_SOURCE = "files"
"""What a new session's `up` holds, where the door says nothing else."""

PAGE = 64
"""Names looked at in one question to Redis."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that this connection has."""

    session: Session
    attachment: Attachment
    resumed: bool
    """it is a session of before, and something may have been missed"""


async def open_session(backend: Backend, opened: turns.Opened, conversation: str, *, newest_wins: bool = False) -> Opened:
    """The session of this name that is waiting for its client, or a new one.

    `newest_wins`: the client has shown who it is, so the session is its own, and it has it from the connection before.

    Raises StreamUnavailable. When it is cancelled no session is left behind that nobody knows of.
    """
    return await _surely(backend, _open(backend, opened, conversation, newest_wins=newest_wins))


async def is_known(backend: Backend, user: str, conversation: str) -> bool:
    """Whether there is a session of this name. Raises StreamUnavailable."""
    return bool(await _live_sessions(backend, user, conversation))


async def take_session(backend: Backend, opened: turns.Opened, conversation: str, *, source: str = DEFAULT_SOURCE) -> Opened:
    """The session of this name, whoever has it now, or a new one: for a caller who has shown who they are.

    The newest connection wins; the one before is told. `source`: see `up.GenOpened`. Raises StreamUnavailable; for a cancel
    see `open_session`.
    """
    return await _surely(backend, _take(backend, opened, conversation, source))


async def new_session(backend: Backend, opened: turns.Opened) -> Opened:
    """A session that only who knows its id can ask for. Raises StreamUnavailable; for a cancel see `open_session`."""
    return await _surely(backend, _create(backend, opened, keys.new_sid()))


async def _surely(backend: Backend, work: Coroutine[Any, Any, Opened]) -> Opened:
    opening = asyncio.create_task(work, name="gateway.open_session")
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        with contextlib.suppress(StreamUnavailable):
            await let_go(backend, opening.result())
        raise


async def let_go(backend: Backend, opened: Opened) -> None:
    """Nobody has it any more. A new one ends, unless somebody has spoken in it. Without Redis it runs out by itself."""
    with contextlib.suppress(StreamUnavailable):
        if opened.resumed or not await backend.sessions.end_unspoken(opened.session, opened.attachment.value):
            await opened.attachment.detach()


async def resume(backend: Backend, sid: str) -> Opened | None:
    """The session with this id, for a client that knows it: the newest connection wins. None when it is over."""
    session = await backend.sessions.by_sid(sid)
    if session is None:
        return None
    attachment = Attachment(backend.redis, session, backend.name)
    if not await attachment.attach(take=True):
        return None
    await backend.sessions.renew(session)  # one that nobody has spoken in may be about to run out
    return Opened(session, attachment, resumed=True)


async def _open(backend: Backend, opened: turns.Opened, conversation: str, *, newest_wins: bool) -> Opened:
    find = _own_session if newest_wins else _waiting_session
    if (found := await find(backend, opened.user, conversation)) is not None:
        return found
    name, races_lost = conversation, 0
    while True:
        creation = await backend.sessions.create(opened, name, source=opened.input or "files")
        if creation.created:
            await _may_be_recorded(backend, creation.session, opened)
            attachment = Attachment(backend.redis, creation.session, backend.name)
            if await attachment.attach(take=True):
                return Opened(creation.session, attachment, resumed=False)
        free = await _free_names(backend, opened.user, conversation)
        # The lowest; but where many come at once, all see the same one free and only one of them gets it.
        name = free[0] if races_lost == 0 else random.choice(free)
        races_lost += 1


async def _take(backend: Backend, opened: turns.Opened, conversation: str, source: str) -> Opened:
    while True:
        session, resumed = await backend.sessions.find(opened.user, conversation), True
        if session is None:
            creation = await backend.sessions.create(opened, conversation, source=source)
            session, resumed = creation.session, not creation.created
            if creation.created:
                await _may_be_recorded(backend, session, opened)
        attachment = Attachment(backend.redis, session, backend.name)
        if await attachment.attach(take=True):
            return Opened(session, attachment, resumed)
        await backend.sessions.forget_name(session)  # it is over


async def _create(backend: Backend, opened: turns.Opened, name: str) -> Opened:
    """`name` is nobody else's."""
    session = (await backend.sessions.create(opened, name, source=opened.input or "files")).session
    await _may_be_recorded(backend, session, opened)
    attachment = Attachment(backend.redis, session, backend.name)
    await attachment.attach(take=True)
    return Opened(session, attachment, resumed=False)


async def _may_be_recorded(backend: Backend, session: Session, opened: turns.Opened) -> None:
    """Of a session that was just born: nothing has been said in it."""
    if opened.recorded_by is not None:
        await open_heard(backend.redis, session, opened.recorded_by)


async def _own_session(backend: Backend, user: str, conversation: str) -> Opened | None:
    """Whoever has its connection."""
    session = await backend.sessions.find(user, conversation)
    if session is not None:
        attachment = Attachment(backend.redis, session, backend.name)
        if await attachment.attach(take=True):
            return Opened(session, attachment, resumed=True)
    return None


async def _waiting_session(backend: Backend, user: str, conversation: str) -> Opened | None:
    """One that is detached, the one left last; else one whose client is gone without anybody having noticed."""
    sessions = await _live_sessions(backend, user, conversation)
    seen = await asyncio.gather(*(presence(backend.redis, session) for session in sessions))
    left = [(there.detached_ms, session) for session, there in zip(sessions, seen, strict=True) if not there.attached]
    for _, session in sorted(left, key=lambda pair: pair[0], reverse=True):
        attachment = Attachment(backend.redis, session, backend.name)
        if await attachment.attach(take=False):
            return Opened(session, attachment, resumed=True)
    held = [(session, there.holder) for session, there in zip(sessions, seen, strict=True) if there.attached]
    alive = await asyncio.gather(*(is_alive(backend.redis, backend.bus, session) for session, _ in held))
    for session, holder in (one for one, answers in zip(held, alive, strict=True) if not answers):
        attachment = Attachment(backend.redis, session, backend.name)
        if await attachment.attach(take=holder):  # and not from somebody who was asked after the same one, and was quicker
            return Opened(session, attachment, resumed=True)
    return None


async def _live_sessions(backend: Backend, user: str, conversation: str) -> list[Session]:
    """All sessions of this name, up to the first page that is not full."""
    names = [conversation, *(f"{conversation}~{k}" for k in range(1, PAGE))]
    ats = [keys.at(user, name) for name in names]
    try:
        async with backend.redis.pipeline(transaction=False) as pipeline:
            for at in ats:
                pipeline.get(at)
            sids: list[Any] = await pipeline.execute()
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"no session could be looked for: {error}") from error
    return [Session(text(sid), at) for at, sid in zip(ats, sids, strict=True) if sid is not None]


async def _free_names(backend: Backend, user: str, conversation: str) -> list[str]:
    """Of the first page of names in which some are free."""
    first = 1
    while True:
        names = [f"{conversation}~{k}" for k in range(first, first + PAGE)]
        try:
            async with backend.redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.exists(keys.at(user, name))
                taken: list[Any] = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"no session could be created: {error}") from error
        if free := [name for name, exists in zip(names, taken, strict=True) if not exists]:
            return free
        first += PAGE
