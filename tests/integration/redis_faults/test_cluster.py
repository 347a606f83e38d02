"""Redis Cluster of three primaries: all that works with one server, and slots that move under load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random
from typing import cast

import pytest
from redis.crc import key_slot

from cli.load.servers import SLOTS, Nodes, clustered, until
from streams import keys
from streams.connection import connect, text
from streams.keys import SessionKeys
from tests.contract.doors.openai_stage import system
from tests.integration.redis_faults.talk import LIVE, arrived, talk

MOVES = int(os.environ.get("CLUSTER_MOVES", "6"))
"""How many slots move while people talk. `CLUSTER_MOVES=200` for a longer look."""


@pytest.fixture
async def cluster() -> AsyncIterator[Nodes]:
    async with clustered() as nodes:
        yield nodes


async def test_people_talk_over_a_cluster(cluster: Nodes) -> None:
    """Sessions are on all nodes."""

    async def nothing() -> None:
        pass

    async with system(cluster, LIVE, gateways=2) as parley:
        talks = await talk(parley, nothing, clients=6)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks)
    for each in talks:
        assert each.client.audio == each.frames
        assert (each.redials, each.announced) == (0, 0)


async def test_the_keys_of_all_nodes_are_named(cluster: Nodes) -> None:
    """Whoever looks for what was left behind sees all of it."""
    async with connect(cluster.url) as redis:
        names = {f"key-{number}".encode() for number in range(20)}
        for name in names:
            await redis.set(name, "1")
        assert set(await redis.keys("key-*")) == names
        assert await redis.keys("other-*") == []


async def test_who_is_redirected_hangs_up_on_nobody(cluster: Nodes) -> None:
    """One slot after the other has moved, and each is found where it is now; what waits for an answer meanwhile gets it."""
    names = [f"key-{number}" for number in range(12)]
    async with connect(cluster.url) as redis:
        for name in names:
            await redis.set(name, name)
        waiting = asyncio.ensure_future(redis.blpop("what comes", timeout=4))
        await until(cluster.nodes[key_slot(b"what comes") * 3 // SLOTS].port, "clients", blocked_clients=1)
        for number, name in enumerate(names):
            await cluster.move(key_slot(name.encode()), number % 3)
            assert await redis.get(name) == name.encode()
        await redis.rpush("what comes", "it")
        assert await waiting == (b"what comes", b"it")


@pytest.mark.timeout(60 + 2 * MOVES)
async def test_slots_move_under_load(cluster: Nodes) -> None:
    """Those of sessions in which somebody talks, that of the dispatch stream, that of the list: key after key."""
    random = Random(3)

    async def reshard() -> None:
        async with connect(cluster.url) as redis:
            sids = [text(cast(bytes, sid)) for sid in await redis.zrange(keys.SESSIONS, 0, -1)]
        slots = [key_slot(SessionKeys(sid).up.encode()) for sid in sids]
        slots += [key_slot(keys.dispatch("bridge").encode()), key_slot(keys.SESSIONS.encode())]
        for number in range(MOVES):
            await cluster.move(slots[number % len(slots)], random.randrange(3), within_s=0.2)
            await asyncio.sleep(0.1)

    async with system(cluster, LIVE, gateways=2) as parley:
        talks = await talk(parley, reshard, clients=4)
        assert sorted(arrived(parley)) == sorted(each.frames for each in talks)
    for each in talks:
        assert each.client.audio == each.frames
        assert (each.redials, each.announced) == (0, 0)
