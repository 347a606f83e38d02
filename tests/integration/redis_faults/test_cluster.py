"""Redis Cluster of three primaries: all that works with one server, and slots that move under load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random
from typing import cast

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cli.load.servers import Nodes, clustered, until
from streams import keys
from streams.cluster import LOOK_AFTER, ClusterClient
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
    async with connect(cluster.url, waits=True) as redis:
        for name in names:
            await redis.set(name, name)
        waiting = asyncio.ensure_future(redis.blpop("what comes", timeout=8))
        await until(cluster.nodes[cluster.owner(key_slot(b"what comes"))].port, "clients", blocked_clients=1)
        for number, name in enumerate(names):
            await cluster.move(key_slot(name.encode()), number % 3)
            assert await redis.get(name) == name.encode()
        await redis.rpush("what comes", "it")
        assert await waiting == (b"what comes", b"it")


@pytest.mark.parametrize("idle", [1, 2])
@pytest.mark.parametrize("is_known", [True, False])
async def test_what_is_in_a_slot_that_is_moving_is_found(cluster: Nodes, idle: int, is_known: bool) -> None:
    """Whatever connections are idle, and at a node that the client does not know yet, as it has no other slot."""
    slot = key_slot(b"it")
    target = (cluster.owner(slot) + 1) % 3
    there = next(name for name in map(str, range(100)) if cluster.owner(key_slot(name.encode())) == target)
    async with connect(cluster.url) as redis:
        await asyncio.gather(*(redis.get(there) for _ in range(idle)))
        await cluster.begin_to_move(slot, target)
        if not is_known:
            manager = cast(ClusterClient, redis).nodes_manager
            del manager.nodes_cache[f"127.0.0.1:{cluster.nodes[target].port}"]
        assert await redis.set("it", "1") is True
        assert sorted(await asyncio.gather(*(redis.incr("it") for _ in range(5)))) == [2, 3, 4, 5, 6]
        pipeline = redis.pipeline()
        pipeline.incr("it")
        pipeline.get("it")
        assert await pipeline.execute() == [7, b"7"]
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await redis.lpush("it", "x")


async def test_all_that_has_moved_is_known_after_some_redirections(cluster: Nodes) -> None:
    """A slot that was not used since, too: whoever has left by then is not asked for it."""
    names = [f"key-{number}" for number in range(LOOK_AFTER + 1)]
    async with connect(cluster.url) as redis:
        for name in names:
            await redis.set(name, name)
            slot = key_slot(name.encode())
            await cluster.move(slot, (cluster.owner(slot) + 1) % 3)
        *used, unused = names
        for name in used:
            assert await redis.get(name) == name.encode()
        manager = cast(ClusterClient, redis).nodes_manager
        async with asyncio.timeout(10):
            while manager.get_node_from_slot(slot).port != cluster.nodes[cluster.owner(slot)].port:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await redis.get(unused) == unused.encode()


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
