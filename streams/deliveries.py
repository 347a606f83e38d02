"""The outbox of the webhook: what the app's backend is still to be told, until it has said that it has it.

`parley:webhooks` says when each is due; whichever bridge looks first takes it, for as long as one try may last. One that
dies with it leaves it to the next who looks: so a backend may be told twice, under the same id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys
from streams.connection import text
from streams.errors import StreamUnavailable
from streams.keys import SessionKeys

# The first one that is due, which is then not due for ARGV[2] ms. ARGV[1]: now.
_TAKE = """
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 1)
if not due[1] then return false end
redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], due[1])
return due[1]
"""

# What is to be told, and which try this is. KEYS: the delivery.
_READ = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return {redis.call('HGET', KEYS[1], 'id'), redis.call('HGET', KEYS[1], 'body'), redis.call('HINCRBY', KEYS[1], 'tries', 1)}
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to be told."""

    sid: str
    id: str
    """the same at each try"""
    body: bytes
    tries: int
    """this one with them"""


class Deliveries:
    """Every call raises StreamUnavailable when the server does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, for_ms: int) -> Delivery | None:
        """One that is due: nobody else tries for so long. None when none is."""
        try:
            while (taken := await self._redis.eval(_TAKE, 1, keys.WEBHOOKS, _now_ms(), for_ms)) is not None:
                sid = text(taken)
                stored: Any = await self._redis.eval(_READ, 1, SessionKeys(sid).webhook)
                if stored is not None:
                    return Delivery(sid, text(stored[0]), stored[1], int(stored[2]))
                await self._redis.zrem(keys.WEBHOOKS, sid)  # forgotten, or nobody has lived to write it
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.WEBHOOKS}: {error}") from error
        return None

    async def again(self, delivery: Delivery, in_s: float) -> None:
        """It was not told; try again then."""
        try:
            await self._redis.zadd(keys.WEBHOOKS, {delivery.sid: _now_ms() + round(in_s * 1000)}, xx=True)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.WEBHOOKS}: {error}") from error

    async def done(self, delivery: Delivery) -> None:
        """It was told, or never will be."""
        try:
            await self._redis.unlink(SessionKeys(delivery.sid).webhook)
            await self._redis.zrem(keys.WEBHOOKS, delivery.sid)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.WEBHOOKS}: {error}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
