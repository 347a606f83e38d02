"""Two connections of one client: the older one wakes late, or is told in time."""

from __future__ import annotations

import asyncio
import logging

from gateway.backend import Backend
from gateway.errors import Replaced, Unavailable
from gateway.live_uplink import LiveUplink
from streams import pcm
from streams.attach import Attachment
from streams.consumer import read
from streams.hub import Hub
from streams.messages import End, Text
from streams.sessions import Session
from tests.contract.streams.entries import texts

LOG = logging.LoggerAdapter(logging.getLogger(__name__))


async def dial(backend: Backend, session: Session) -> LiveUplink:
    attachment = Attachment(backend.redis, session, backend.name)
    assert await attachment.attach(take=True)
    return LiveUplink(backend, session, LOG, known=True, held=attachment.value)


async def say(uplink: LiveUplink, text: str) -> None:
    stored = asyncio.Event()
    uplink.on_stored = lambda number: stored.set()
    uplink.say(Text(text))
    await asyncio.wait_for(stored.wait(), 5)


async def test_a_connection_that_wakes_late_ends(hub: Hub, backend: Backend, session: Session) -> None:
    """Its gateway stood still: what it has still to say is of before what the client has said since."""
    old = await dial(backend, session)
    await say(old, "1")
    new = await dial(backend, session)
    await say(new, "2")
    old.say(Text("late"))
    await asyncio.wait([old.worker], timeout=5)
    assert isinstance(old.worker.exception(), Replaced)
    await old.leave()
    await say(new, "3")
    await new.leave()
    assert await texts(hub.redis, session.keys.pcm) == ["1", "2", "3"]


async def test_a_connection_that_is_replaced_stores_what_it_has_read(hub: Hub, backend: Backend, session: Session) -> None:
    old = await dial(backend, session)
    await say(old, "1")
    new = await dial(backend, session)
    old.say(Text("2"))
    await old.leave()
    await say(new, "3")
    await new.leave()
    assert await texts(hub.redis, session.keys.pcm) == ["1", "2", "3"]


async def test_whose_hold_redis_has_forgotten_may_come_back(hub: Hub, backend: Backend, session: Session) -> None:
    """A failover has lost that the session is this connection's: it is no other one's, and this client is the only one."""
    old = await dial(backend, session)
    await say(old, "1")
    await old.leave()
    new = await dial(backend, session)
    await hub.redis.delete(session.keys.attach)
    new.say(Text("2"))
    await asyncio.wait([new.worker], timeout=5)
    assert isinstance(new.worker.exception(), Unavailable)


async def test_who_was_replaced_ends_the_session_of_nobody_else(hub: Hub, backend: Backend, session: Session) -> None:
    """Its goodbye was read when the next connection was there already, and had said nothing yet."""
    old = await dial(backend, session)
    await say(old, "1")
    new = await dial(backend, session)
    old.end("client_left")
    await old.leave()
    await say(new, "2")
    new.end("client_left")
    await new.leave()
    entries = [entry.message for entry in await read(hub.redis, session.keys.pcm, pcm.decoder)]
    assert [type(message).__name__ for message in entries if isinstance(message, Text | End)] == ["Text", "Text", "End"]
