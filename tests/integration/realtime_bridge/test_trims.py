"""What is dealt with is trimmed, also where one bridge after the other dies before it was time for that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from realtime_bridge.line import KEPT_ENTRIES
from realtime_bridge.unwritten import KEEP_S
from simulator.answers import Fixed, Speech
from simulator.server import running
from streams import pcm
from streams.consumer import last_id, read
from streams.down import decoder
from streams.hub import Hub
from streams.sessions import Sessions
from tests.integration.realtime_bridge.stage import AT_ONCE, MS, Call, bridged, settings_for, silence, speech

SHORT = replace(AT_ONCE, answer=Fixed(Speech("Yes.", speech(1_000, 200))))


async def has_a_turn(call: Call, ms: int = 400) -> None:
    answered = call.completed
    call.says(silence(400) + speech(answered, ms) + silence(800))
    await call.until(lambda call: call.completed > answered)


async def test_what_has_arrived_is_trimmed_by_the_next_bridge(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever comes after it need not read it."""
    answer = Fixed(Speech("Yes.", speech(1_000, 12_000)))
    async with (
        running(replace(AT_ONCE, answer=answer)) as simulator,
        bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call,
    ):
        for _ in range(2):
            await has_a_turn(call)
        down = call.session.keys.down
        arrived = await last_id(hub.redis, down)
        assert arrived is not None
        assert await hub.redis.xlen(down) > KEPT_ENTRIES + 20
        await Sessions(hub.redis).set_cursor(call.session, "arrived", arrived)
        await call.relieve()
        await has_a_turn(call)
        left = await read(hub.redis, down, decoder, upto=arrived)
        assert len(left) == KEPT_ENTRIES


async def test_the_sound_of_what_nobody_writes_down_is_a_minute(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many bridges there were, none of which lived that long."""
    async with running(SHORT) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_TRANSCRIPTION_MODEL="none")
        async with bridged(hub, settings) as call:
            for _ in range(6):
                await has_a_turn(call, 25_000)
                await call.relieve()
            await has_a_turn(call)
            async with asyncio.timeout(10):  # it is trimmed behind the answer
                while await kept(call) >= (KEEP_S + 2 * 27) * 1_000 * MS:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def kept(call: Call) -> int:
    """Bytes of what the user has said."""
    entries = await read(call.hub.redis, call.session.keys.pcm, pcm.decoder)
    return sum(len(entry.message.audio) for entry in entries if isinstance(entry.message, pcm.Audio))
