"""A bridge's reign over a session, where only what it has written is wanted."""

from __future__ import annotations

from streams.dispatch import Lease
from streams.hub import Hub
from streams.sessions import Session


async def reign(hub: Hub, session: Session, owner: str) -> int:
    """The epoch of a bridge that was killed, and whose lease has run out."""
    lease = Lease(hub.redis, session, owner)
    assert await lease.acquire()
    try:
        return await lease.take_epoch(hub.writer)
    finally:
        await lease.release()
