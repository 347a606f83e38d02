"""The primary dies, or hangs, and Sentinels make its replica the primary."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.load.servers import Watched, watched
from streams.connection import connect
from streams.ids import EntryId
from tests.contract.doors.openai_stage import system
from tests.integration.redis_faults.talk import LIVE, arrived, talk

LAG_S = 0.4

TOO_SLOW = "another bridge has, or may have, this session"
"""Logged when a failover took longer than a lease lasts: on a machine that is very busy. Then the model is asked anew."""

SLOW_S = 2.2
"""A failover that takes no longer costs no lease: docs/promises.md."""


@pytest.fixture
async def servers() -> AsyncIterator[Watched]:
    async with watched() as servers:
        yield servers


async def test_the_url_of_sentinels_leads_to_the_primary(servers: Watched) -> None:
    async with connect(servers.url) as redis:
        assert (await redis.info("server"))["tcp_port"] == servers.primary.port
        assert (await redis.info("replication"))["role"] == "master"


async def test_who_is_no_primary_is_not_read_whatever_sentinels_say(servers: Watched) -> None:
    """Who died and is back as a replica has nothing yet, and until Sentinels agree on another one they still name it."""
    async with Redis(port=servers.primary.port) as itself:
        await itself.replicaof("127.0.0.1", str(servers.replica.port))
    async with connect(servers.url) as redis:
        with pytest.raises(RedisConnectionError, match="is no primary, whatever Sentinels say"):
            await redis.get("anything")


async def test_sessions_go_on_when_the_primary_dies(servers: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """The services are away as long as there is no primary; nobody dials again, and nothing is lost or doubled."""
    loop = asyncio.get_running_loop()
    took_s = 0.0

    async def dies() -> None:
        nonlocal took_s
        begin = loop.time()
        await servers.dies()
        took_s = loop.time() - begin

    async with system(servers, LIVE) as parley:
        talks = await talk(parley, dies)
    for each in talks:
        assert each.lost == 0
        assert each.doubled <= (TOO_SLOW in caplog.text and took_s > SLOW_S)
        dids = [EntryId.parse(did) for did, _ in each.client.heard]
        assert dids == sorted(set(dids))


async def test_what_the_replica_did_not_get_is_written_again(servers: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It lags behind, and the primary dies with what it has acknowledged. Whoever wrote that still has it."""

    async def dies_ahead() -> None:
        await servers.dies(LAG_S)

    async with system(servers, LIVE) as parley:
        talks = await talk(parley, dies_ahead)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks) or TOO_SLOW in caplog.text
    for each in talks:
        assert (each.lost, each.redials, each.announced) == (0, 0, 0)
        assert each.client.audio == each.frames or TOO_SLOW in caplog.text
    assert "Redis has lost" in caplog.text


async def test_sessions_go_on_when_the_primary_hangs(servers: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It closes nothing and answers nothing. Whoever waits for it is let go when there is another one: in time to renew what
    it has leased, so that nobody else asks the model anew; and what the hung one wakes up with is nobody's business."""
    process = servers.primary.process
    caplog.set_level("WARNING")

    async def hangs() -> None:
        await servers.hangs()
        await asyncio.sleep(2.0)
        os.kill(process.pid, signal.SIGCONT)
        await asyncio.sleep(1.0)

    try:
        async with system(servers, LIVE) as parley:
            talks = await talk(parley, hangs)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    for each in talks:
        assert (each.lost, each.redials) == (0, 0)
        assert each.doubled <= (TOO_SLOW in caplog.text)
    assert "is the primary now: connections to the one before are closed" in caplog.text
