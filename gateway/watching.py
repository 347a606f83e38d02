"""An operator looks on at a live session: both of its streams, read as they grow, until one side is over.

It is a reader beside those that do the work: a subscription on this gateway's bus while somebody looks, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.backend import Backend
from gateway.doors.admin_messages import Side
from streams import down, pcm
from streams.consumer import Consumer, Entry
from streams.errors import Over, StreamUnavailable
from streams.ids import ZERO, just_before
from streams.sessions import Session

WAITING = 64
"""Entries that wait for an operator who does not read. What comes on top stays in the streams, until it is trimmed there."""

LOOK_EVERY_S = 5.0
"""While nothing is said: a session whose holders have died ends without a word."""

Seen = tuple[Side, Entry[Any]]


@asynccontextmanager
async def watching(backend: Backend, session: Session) -> AsyncIterator[AsyncIterator[Seen]]:
    """What is said from now on, both sides as they come, up to and with the session's last word.

    It ends as well when the session is gone, or Redis stays away. Entering raises StreamUnavailable.
    """
    sessions, k = backend.sessions, session.keys
    spoken, told = await sessions.last_id(session, "pcm"), await sessions.last_id(session, "down")
    # Of what was told the last entry is shown, too: it may be the end.
    since = {"user": spoken or ZERO, "model": just_before(told) if told is not None else ZERO}
    seen: asyncio.Queue[Seen | None] = asyncio.Queue(WAITING)

    async def read(side: Side, stream: str, decoder: Any) -> None:
        try:
            async with Consumer[Any](backend.redis, backend.bus, stream, decoder, after=since[side]) as entries:
                async for entry in entries:
                    await seen.put((side, entry))
                    if isinstance(entry.message, down.Ended):
                        break
        except (Over, StreamUnavailable):
            pass
        if side == "model":  # `down` outlives `pcm`, and holds the last word
            await seen.put(None)

    readers = [
        asyncio.create_task(read("user", k.pcm, pcm.decoder), name="gateway.watching pcm"),
        asyncio.create_task(read("model", k.down, down.decoder), name="gateway.watching down"),
    ]

    async def entries() -> AsyncIterator[Seen]:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    each = await seen.get()
            except TimeoutError:
                if await _is_gone(backend, session):
                    return
                continue
            if each is None:
                return
            yield each

    try:
        yield entries()
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


async def _is_gone(backend: Backend, session: Session) -> bool:
    """While nobody can tell it is not."""
    try:
        return await backend.sessions.by_sid(session.sid) is None
    except StreamUnavailable:
        return False
