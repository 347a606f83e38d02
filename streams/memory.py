"""How full the server is: a session that is opened when there is hardly room takes it from those that run."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.connection import by_node
from streams.errors import StreamUnavailable

MEASURE_EVERY_S = 1.0
"""However many ask: one of them looks, and so often at most."""


class Memory:
    """Which part of its `maxmemory` the server uses, as it was within the last second."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._fullness = 0.0
        self._measured_at = float("-inf")
        self._measuring = asyncio.Lock()

    async def fullness(self) -> float:
        """From 0 (empty, or without a limit) to about 1; of several nodes that of the fullest. Raises StreamUnavailable."""
        async with self._measuring:
            now = asyncio.get_running_loop().time()
            if now - self._measured_at >= MEASURE_EVERY_S:
                try:
                    nodes = by_node(await self._redis.info("memory"))
                    self._fullness = max(_part(node) for node in nodes.values())
                except (RedisError, OSError) as error:
                    raise StreamUnavailable(f"INFO memory: {error}") from error
                self._measured_at = now
            return self._fullness


def _part(info: dict[str, Any]) -> float:
    limit = int(info.get("maxmemory", 0))
    if not limit:
        return 0.0
    # Buffers of replicas and of the append-only file are not held against the limit, by the server either.
    return (int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))) / limit
