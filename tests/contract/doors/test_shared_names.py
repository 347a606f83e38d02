"""Phones that share a user id, as the field's do: none takes a session from another."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from gateway import naming
from streams.attach import Attachment, is_alive
from streams.bus import Bus
from streams.sessions import Session
from tests.contract.doors.stage import Stage


async def test_two_that_lost_their_gateway_get_a_session_each(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look at once, and find that nobody has either session any more."""
    looks, all_look = 0, asyncio.Event()

    async def look_together(redis: Redis, bus: Bus, session: Session) -> bool:
        nonlocal looks
        alive = await is_alive(redis, bus, session)
        looks += 1
        if looks == 4:
            all_look.set()
        await all_look.wait()
        return alive

    async with AsyncExitStack() as before:
        phones = [await before.enter_async_context(stage.client()) for _ in range(2)]
        for phone in phones:
            await phone.say_audio(b"a recording")
        sessions = [await stage.session("ann", name) for name in ("ann", "ann~1")]
        for session in sessions:
            await stage.up(session, 2)
    for session in sessions:
        await stage.detached(session)
        assert await Attachment(stage.redis, session, "a gateway that is dead").attach(take=False)
    monkeypatch.setattr(naming, "is_alive", look_together)
    async with AsyncExitStack() as again:
        phones = await asyncio.gather(*(again.enter_async_context(stage.client()) for _ in range(2)))
        for phone in phones:
            await phone.say_audio(b"another one")
        for session in sessions:
            await stage.up(session, 3)
        for phone in phones:
            await phone.hear_nothing_more()
