"""Redis is killed and started again on the same data: sessions go on, readers read again, ids only rise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from runtime.embedded import EmbeddedServer
from streams.ids import EntryId
from tests.contract.doors.openai_stage import system
from tests.integration.redis_faults.talk import LIVE, arrived, talk

AWAY_S = (0.0, 1.0)


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer("--appendonly", "yes", "--appendfsync", "everysec") as server:
        yield server


@pytest.mark.parametrize("away_s", AWAY_S)
async def test_sessions_go_on_after_a_restart(server: EmbeddedServer, away_s: float) -> None:
    """Nobody dials again, nothing is lost, nothing comes twice; and the bridge is the same one."""

    async def restart() -> None:
        server.kill()
        await asyncio.sleep(away_s)
        await server.start_async()

    async with system(server, LIVE) as parley:
        talks = await talk(parley, restart)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks)
    for each in talks:
        assert each.client.audio == each.frames
        assert (each.redials, each.announced) == (0, 0)
        dids = [EntryId.parse(did) for did, _ in each.client.heard]
        assert dids == sorted(set(dids))
        assert len({did.left for did in dids[1:]}) == 1
