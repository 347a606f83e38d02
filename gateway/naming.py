"""A session of its own for every client, also for those that share a hard-coded name."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from redis.exceptions import RedisError

from gateway.backend import Backend
from streams import keys, turns
from streams.errors import StreamUnavailable
from streams.sessions import Session

PAGE = 64
"""Names looked at in one question to Redis."""


async def open_session(backend: Backend, opened: turns.Opened, conversation: str) -> Session:
    """Create a session named `conversation`; while that name belongs to a live one, `<conversation>~<k>`, k = 1, 2, …

    Raises StreamUnavailable. When it is cancelled no session is left behind.
    """
    opening = asyncio.create_task(_open(backend, opened, conversation), name="gateway.open_session")
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        with contextlib.suppress(StreamUnavailable):
            await backend.sessions.end(opening.result(), linger_ms=0)
        raise


async def _open(backend: Backend, opened: turns.Opened, conversation: str) -> Session:
    name, races_lost = conversation, 0
    while True:
        creation = await backend.sessions.create(opened, name)
        if creation.created:
            return creation.session
        free = await _free_names(backend, opened.user, conversation)
        # The lowest; but where many come at once, all see the same one free and only one of them gets it.
        name = free[0] if races_lost == 0 else random.choice(free)
        races_lost += 1


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
