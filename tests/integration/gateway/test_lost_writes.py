"""Redis has lost more of what it stored than anybody keeps: who numbers is asked for it again, all others are told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.backend import Backend
from gateway.live_uplink import LiveUplink
from streams import producer
from streams.hub import Hub
from streams.messages import Text
from streams.producer import open_left
from streams.sessions import Session
from streams.up import GenOpened
from tests.contract.streams.entries import losing, texts

LOG = logging.LoggerAdapter(logging.getLogger(__name__))


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "RETAIN_BYTES", 0)


async def say(uplink: LiveUplink, text: str, stored: asyncio.Event) -> None:
    stored.clear()
    uplink.say(Text(text))
    await asyncio.wait_for(stored.wait(), 5)


async def test_who_does_not_number_is_told(hub: Hub, backend: Backend, session: Session) -> None:
    """And what is said from then on is stored."""
    k, stored, lost = session.keys, asyncio.Event(), asyncio.Event()
    uplink = LiveUplink(backend, session, LOG, known=True)
    uplink.on_stored = lambda number: stored.set()
    uplink.on_lost = lost.set
    await say(uplink, "1", stored)
    async with losing(hub.redis, k.pcm, k.marks):
        await say(uplink, "2", stored)
    uplink.say(Text("3"))
    await asyncio.wait_for(lost.wait(), 5)
    await say(uplink, "4", stored)
    assert not uplink.worker.done()
    await uplink.leave()
    assert await texts(hub.redis, k.pcm) == ["1", "4"]


async def test_who_numbers_is_asked_for_it(hub: Hub, backend: Backend, session: Session) -> None:
    """Also for what was acknowledged: a client keeps its last ten seconds."""
    k, stored = session.keys, asyncio.Event()
    wanted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    gen = await open_left(hub.writer, k.pcm, GenOpened(source="pcm16"), 10**13)
    uplink = LiveUplink(backend, session, LOG, known=True, gen=gen)
    uplink.on_stored = lambda number: stored.set()
    uplink.on_wanted = wanted.set_result
    await say(uplink, "1", stored)
    async with losing(hub.redis, k.pcm, k.marks):
        await say(uplink, "2", stored)
    uplink.say(Text("3"))
    assert await asyncio.wait_for(wanted, 5) == 2
    await say(uplink, "2", stored)
    await say(uplink, "3", stored)
    await uplink.leave()
    assert await texts(hub.redis, k.pcm) == ["1", "2", "3"]
