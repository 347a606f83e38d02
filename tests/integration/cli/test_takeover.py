"""How the harness finds out, in Redis, when a session that lost its bridge is heard of again."""

from __future__ import annotations

import msgspec
import pytest

from cli.load import takeover
from cli.load.takeover import Watch
from realtime_bridge.ledger import Ledger
from streams import down, keys, turns
from streams.dispatch import Lease
from streams.hub import Hub
from streams.sessions import Session, Sessions

RETOLD = 150
"""Events with which a long conversation is told again, before anything is heard."""


async def bridged(hub: Hub, owner: str, session: Session) -> Ledger:
    await hub.redis.delete(session.keys.lease)
    lease = Lease(hub.redis, session, owner)
    assert await lease.acquire()
    return Ledger(hub, session, await lease.take_epoch(hub.writer))


async def asked(hub: Hub, user: str) -> tuple[Session, Ledger]:
    """Its answer has begun."""
    session = (await Sessions(hub.redis).create(turns.Opened(user=user, door="d"), user)).session
    ledger = await bridged(hub, "host:1", session)
    ledger.record(turns.Begun("r1", "7-5", 10))
    await ledger.flush()
    return session, ledger


async def test_what_is_due_is_heard_behind_a_long_conversation(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is due of an answer that ended at the last moment."""
    monkeypatch.setattr(takeover, "LIMIT_S", 20.0)
    (session, _), (ended, dying) = await asked(hub, "ann"), await asked(hub, "bob")
    watch = Watch(hub.redis, "bridge", pids=(1,))
    await watch.begin("bridge kill")
    dying.record(turns.Answered("r1", "7-5", 10))
    await dying.flush()
    for each in (session, ended):
        ledger = await bridged(hub, "host:2", each)
        for _ in range(RETOLD):
            ledger.say(down.ServerEvent(type="conversation.item.added", body=msgspec.Raw(b"{}")))
        ledger.say(down.Audio("r2", "a2", 0, 0, bytes(480)))
        await ledger.flush()
    due, over = sorted(await watch.follow(0.0), key=lambda taken: taken.sid != session.sid)
    assert (due.is_due, over.is_due) == (True, False)
    assert due.heard_s is not None
    assert over.heard_s is None
    assert await hub.redis.zcard(keys.SESSIONS) == 2


async def test_who_is_taken_over_while_one_looks_is_no_orphan(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is looked at while the dead bridge's still stands, and its epoch too: whatever comes in between."""
    monkeypatch.setattr(takeover, "LIMIT_S", 2.0)
    session, _ = await asked(hub, "ann")
    watch = Watch(hub.redis, "bridge", pids=(1,))
    owners = watch._owners

    async def slowly(sids: list[str]) -> list[str]:
        found = await owners(sids)
        await bridged(hub, "host:2", session)
        return found

    monkeypatch.setattr(watch, "_owners", slowly)
    await watch.begin("bridge kill")
    (taken,) = await watch.follow(0.0)
    assert taken.owned_s is not None
