"""How far the workers are behind, as this gateway's metrics have it.

Gateways tell it because they are there when no worker is, and hand sessions out. Each tells the same: of several the most
counts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import get_args

from redis.asyncio import Redis

from gateway.metrics import Metrics
from streams.errors import StreamUnavailable
from streams.keys import Role
from streams.lag import lag

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


async def look(redis: Redis, metrics: Metrics) -> None:
    """Once. Raises StreamUnavailable."""
    for role in get_args(Role):
        behind = await lag(redis, role)
        metrics.waiting.labels(role).set(behind.waiting)
        metrics.waiting_seconds.labels(role).set(behind.waiting_ms / 1000)
        metrics.served.labels(role).set(behind.served)


async def keep_looking(redis: Redis, metrics: Metrics) -> None:
    """Until it is cancelled. While Redis is away the metrics stay as they were."""
    while True:
        try:
            await look(redis, metrics)
        except StreamUnavailable as error:
            logger.debug("how far the workers are behind cannot be seen: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)
