"""Our extension of the openai door: what was sent is there once, what was said is heard once, whatever breaks in between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from simulator.answers import Echo
from simulator.options import Options
from streams.ids import EntryId
from streams.keys import SessionKeys
from tests.contract.doors.openai_stage import NumberedClient, System, coded_frame, system

CUTS = int(os.environ.get("CUTS", "30"))
"""Lines that break in the middle. `CUTS=200 pytest …` for a longer night."""

pytestmark = pytest.mark.usefixtures("redis")

LIVE = Options(answer=Echo(live=True), speed=0, record_s=600)
"""Every append comes back at once, as it was."""


@pytest.fixture
async def parley(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[System]:
    async with system(redis_server, LIVE, gateways=2) as parley:
        yield parley


def keys_of(session: str) -> SessionKeys:
    return SessionKeys(session.removeprefix("sess_"))


@pytest.mark.timeout(60 + CUTS)
@pytest.mark.parametrize("seed", [1])
async def test_a_line_that_breaks_loses_nothing_and_doubles_nothing(parley: System, seed: int) -> None:
    """Cut at random moments, both ways; gone on with at the other gateway. Each frame of 20 ms arrives once and comes back once."""
    random = Random(seed)
    client = NumberedClient(parley)
    await client.connect(0)
    frames = 0
    for cut in range(CUTS):
        for _ in range(random.randint(1, 30)):
            await client.append(coded_frame(frames))
            frames += 1
            if random.random() < 0.3:
                await asyncio.sleep(random.choice((0.0, 0.001, 0.004)))
        await client.cut()
        if random.random() < 0.2:
            await client.append(coded_frame(frames))  # said while there is no line
            frames += 1
        await client.connect((cut + 1) % 2)
    sent = b"".join(coded_frame(number) for number in range(frames))
    await client.until(lambda: client.acked == client.sent and len(client.audio) >= len(sent))
    (session,) = parley.simulator.sessions
    assert bytes(session.recording.appended) == sent
    assert client.audio == sent
    dids = [EntryId.parse(did) for did, _ in client.heard]
    assert dids == sorted(set(dids))
    assert client.cuts == CUTS
    assert not [reply for reply in client.replies if reply["type"] in ("error", "parley.resync")]
    await client.close()
