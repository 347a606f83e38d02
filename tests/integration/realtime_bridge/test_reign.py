"""What a bridge that has lost its session may still do to it: nothing."""

from __future__ import annotations

import pytest

from realtime_bridge.effects import Stop, Trim
from realtime_bridge.line import Line
from simulator.server import running
from streams import down
from streams.consumer import last_id
from streams.dispatch import Lease
from streams.errors import LeaseLost
from streams.hub import Hub
from streams.sessions import Sessions
from tests.integration.realtime_bridge.stage import AT_ONCE, Call, bridged, settings_for, silence, speech


async def answers(call: Call) -> None:
    """The bridge is at work."""
    call.says(silence(400) + speech(1) + silence(800))
    await call.until(lambda call: call.completed > 0)


async def robbed(call: Call) -> Lease:
    """Another one has the session, and this one has not noticed."""
    await call.hub.redis.delete(call.session.keys.lease)
    theirs = Lease(call.hub.redis, call.session, "other:1")
    assert await theirs.acquire()
    return theirs


async def is_theirs(call: Call, theirs: Lease) -> bool:
    return await Sessions(call.hub.redis).find("ann", "ann") == call.session and await theirs.holder() == theirs.value


@pytest.mark.parametrize("knows_it", [False, True])
async def test_a_session_that_another_bridge_has_is_not_ended(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, knows_it: bool
) -> None:
    """By the one that had it: the one that does not know learns it by its last word, the other says none."""
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        await answers(call)
        theirs = await robbed(call)
        if knows_it:
            call.bridge._lease._held_until = 0.0
        else:
            await theirs.take_epoch(hub.writer)
        call.bridge.end("the client is gone")
        assert await call.bridging[0] is False
        assert await is_theirs(call, theirs)
        assert not any(isinstance(message, down.Ended) for message in call.told)
        await theirs.release()
        call.inherit()
        await call.until(lambda call: down.Resumed() in call.told)


def line_of(call: Call) -> Line:
    assert call.bridge._lines is not None
    assert call.bridge._lines.current is not None
    return call.bridge._lines.current


async def test_who_may_have_lost_it_trims_nothing_and_stops_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may want to read what would be trimmed, and may be heard where the client would be silenced."""
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        await answers(call)
        pcm, line, theirs = call.session.keys.pcm, line_of(call), await robbed(call)
        before, last = await hub.redis.xlen(pcm), await last_id(hub.redis, pcm)
        assert last is not None
        assert before > 1
        call.bridge._lease._held_until = 0.0
        with pytest.raises(LeaseLost):
            line._do([Stop("stop", ())])
        line._outbox.put(Trim(last), 0)
        assert await call.bridging[0] is False
        assert await hub.redis.xlen(pcm) == before
        await theirs.release()
        call.inherit()
        await call.until(lambda call: down.Resumed() in call.told)


async def test_who_is_told_to_leave_what_another_bridge_has_leaves_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had still to note is refused, as it should be: that is no fault."""
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        await answers(call)
        theirs = await robbed(call)
        await theirs.take_epoch(hub.writer)
        call.bridge._ledger.say(down.Reconnecting())
        call.bridge.leave()
        assert await call.bridging[0] is False
        await theirs.release()
        call.inherit()
        await call.until(lambda call: down.Resumed() in call.told)
