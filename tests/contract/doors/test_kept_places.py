"""What has reached a client is kept where another gateway finds it, should this one die."""

from __future__ import annotations

import pytest

from gateway import following
from tests.contract.doors.stage import Stage


async def test_what_has_arrived_is_kept_as_soon_as_it_is_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next ping: or whoever dials again after a gateway was killed hears two intervals again, not one."""
    monkeypatch.setattr(following, "PING_EVERY_S", 3600.0)
    async with stage.client() as client:
        session = await stage.session()
        bridge = await stage.bridge(session)
        await stage.arrived(session, await stage.newest(session))
        # As much as is asked about at once, whatever the time.
        for at in range(2):
            await bridge.say_audio(bytes(4_800), start_ms=100 * at)
            await client.hear_audio()
        await stage.arrived(session, await stage.newest(session))
