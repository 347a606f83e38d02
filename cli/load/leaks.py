"""What a fleet holds while nobody talks: before a run, and after it. What is more then is a leak."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from cli.load.fleet import Fleet
from streams import keys
from streams.hub import READ_CONNECTIONS
from streams.sessions import LINGER_MS

SLACK = 6
"""Half a dozen of anything may be there for a moment; a leak is one a session."""
POOL = READ_CONNECTIONS + 6
"""Connections to Redis that a process keeps at most, as its pools grow: these are not counted with its descriptors."""
GROWTH_MB = 40.0
"""Allocators keep what they had at the height of it."""
SETTLED_WITHIN_S = 100.0
"""A client whose goodbye was lost is waited for for the grace time; what was said last can be read ten seconds longer."""


@dataclass(frozen=True)
class Held:
    """By one process."""

    tasks: int
    threads: int
    descriptors: int
    """but for connections to Redis"""
    sockets: int
    """of these"""
    children: int
    memory_mb: float


@dataclass(frozen=True)
class Holdings:
    processes: dict[str, Held]
    connections: int
    """that Redis has"""
    redis_mb: float
    sessions: int
    handed_out: int
    """entries of the dispatch streams"""
    session_keys: frozenset[str]
    """but for those that are about to go"""
    lasting_keys: frozenset[str]
    """without a TTL, but for those that should have none (`docs/streams.md`)"""


async def holdings(ships: Fleet) -> Holdings:
    """As it is now. Raises TimeoutError when a process does not answer."""
    tasks, redis = await ships.tasks(), ships.redis
    ttls = {key.decode(): await redis.pttl(key) async for key in redis.scan_iter(count=1000)}
    pooled = _connections_to(int(redis.get_connection_kwargs()["port"]))
    lasting = {key for key, ttl in ttls.items() if ttl == -1}
    return Holdings(
        {name: _held(pid, tasks[name], ships.memory_mb()[name], pooled) for name, pid in ships.pids().items()},
        len(await redis.client_list()),
        (await redis.info("memory"))["used_memory"] / (1 << 20),
        await redis.zcard(keys.SESSIONS),
        sum([await redis.xlen(keys.dispatch(role)) for role in ("bridge", "transcoder")]),
        frozenset(key for key, ttl in ttls.items() if is_a_sessions(key) and not 0 < ttl <= LINGER_MS),
        frozenset(key for key in lasting if key != keys.SESSIONS and not key.startswith("parley:dispatch:")),
    )


def is_a_sessions(key: str) -> bool:
    """Whether it should go with its session: what is kept of one has another life."""
    return key.startswith(("parley:at:", "parley:limit:")) or (
        key.startswith("parley:{") and not key.endswith((":kept", ":webhook", ":forgotten"))
    )


def leaks(before: Holdings, after: Holdings) -> Iterator[str]:
    """A sentence each."""
    for name, held in after.processes.items():
        was = before.processes[name]
        for what in (field.name for field in fields(Held) if field.name != "memory_mb"):
            if getattr(held, what) > getattr(was, what) + SLACK:
                yield f"{name} has {getattr(held, what)} {what}, and had {getattr(was, what)}"
        if held.memory_mb > was.memory_mb + GROWTH_MB:
            yield f"{name} has grown from {was.memory_mb:.0f} to {held.memory_mb:.0f} MB"
    if after.connections > POOL * len(after.processes):
        yield f"Redis has {after.connections} connections, more than {POOL} a process"
    if after.redis_mb > before.redis_mb + GROWTH_MB:
        yield f"Redis has grown from {before.redis_mb:.0f} to {after.redis_mb:.0f} MB"
    if after.sessions:
        yield f"{after.sessions} sessions are on the list"
    if after.handed_out:
        yield f"{after.handed_out} sessions are handed out"
    if after.session_keys:
        yield f"keys are left of sessions that are over: {', '.join(sorted(after.session_keys)[:10])}"
    if after.lasting_keys:
        yield f"keys would stay for ever: {', '.join(sorted(after.lasting_keys)[:10])}"


async def settled(ships: Fleet, before: Holdings | None = None) -> Holdings:
    """When nothing is leaked, or after a time in which all should have gone."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLED_WITHIN_S
    while True:
        now = await holdings(ships)
        if not list(leaks(before or now, now)) or loop.time() > until:
            return now
        await asyncio.sleep(1.0)


def _connections_to(port: int) -> frozenset[str]:
    """As descriptors name them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return frozenset(f"socket:[{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) == port)


def _held(pid: int, tasks: int, memory_mb: float, pooled: frozenset[str]) -> Held:
    every = [_target(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    descriptors = [target for target in every if target not in pooled]
    threads = os.listdir(f"/proc/{pid}/task")
    children = [child for thread in threads for child in _children(pid, thread)]
    sockets = sum(target.startswith("socket:") for target in descriptors)
    return Held(tasks, len(threads), len(descriptors), sockets, len(children), memory_mb)


def _children(pid: int, thread: str) -> list[str]:
    """Of a thread; none of one that has ended meanwhile. Raises OSError where the kernel does not say."""
    task = Path(f"/proc/{pid}/task/{thread}")
    try:
        return (task / "children").read_text().split()
    except OSError:
        if task.exists():
            raise
        return []


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # closed meanwhile
