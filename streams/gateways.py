"""`parley:gateways`: which gateways there are, how many clients each has, and which are to send theirs away.

Each gateway says every few seconds that it is there, and is answered with what an operator wishes of it: so a wish that is
said while Redis or the gateway is away is heard later, and none is lost on a channel. The name of a gateway that has been
started again is the same in a container; it forgets what was wished of the one before.
"""

from __future__ import annotations

import time
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys
from streams.connection import text
from streams.errors import StreamUnavailable

RENEW_S = 2.0
"""How often a gateway says that it is there: a wish is heard within this."""

GONE_MS = 10_000
"""Who has said nothing for so long is not there."""

_WISH = "/drain"
"""Behind a name, which has a colon and no stroke: it is to send its clients away."""

# ARGV: name, what it says, ms until the hash runs out, '1' to forget wishes. Answers whether there is one.
_RENEW = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[4] == '1' then redis.call('HDEL', KEYS[1], ARGV[1] .. '/drain') end
return redis.call('HEXISTS', KEYS[1], ARGV[1] .. '/drain')
"""
# ARGV: name, '1' to wish it. 0: there is no such gateway.
_WISH_FOR = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], ARGV[1] .. '/drain', '1')
else redis.call('HDEL', KEYS[1], ARGV[1] .. '/drain') end
return 1
"""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """As it says itself."""

    name: str
    at_ms: int
    since_ms: int
    connections: int
    draining: bool
    """it takes no clients, and sends away those that it has"""


async def renew(redis: Redis, gateway: Gateway, *, fresh: bool = False) -> bool:
    """Say that it is there; whether it is to send its clients away. `fresh`: for the first time.

    Raises StreamUnavailable.
    """
    said = msgspec.json.encode(gateway)
    arguments = (gateway.name, said, 6 * GONE_MS, "1" if fresh else "0")
    try:
        return bool(await redis.eval(_RENEW, 1, keys.GATEWAYS, *cast(Any, arguments)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.GATEWAYS}: {error}") from error


async def leave(redis: Redis, name: str) -> None:
    """It stops. Raises StreamUnavailable."""
    try:
        await cast(Any, redis.hdel(keys.GATEWAYS, name, name + _WISH))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.GATEWAYS}: {error}") from error


async def wish(redis: Redis, name: str, *, drain: bool) -> bool:
    """That it sends its clients away, or takes some again; False: there is no such gateway. Raises StreamUnavailable."""
    try:
        return bool(await redis.eval(_WISH_FOR, 1, keys.GATEWAYS, name, "1" if drain else "0"))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.GATEWAYS}: {error}") from error


async def listed(redis: Redis) -> list[Gateway]:
    """Those that are there, by name. Who has died is struck off. Raises StreamUnavailable."""
    now = time.time_ns() // 1_000_000
    try:
        found: dict[Any, Any] = await cast(Any, redis.hgetall(keys.GATEWAYS))
        said = [msgspec.json.decode(value, type=Gateway) for name, value in found.items() if not text(name).endswith(_WISH)]
        if gone := [each.name for each in said if each.at_ms < now - GONE_MS]:
            await cast(Any, redis.hdel(keys.GATEWAYS, *gone, *(name + _WISH for name in gone)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.GATEWAYS}: {error}") from error
    return sorted((each for each in said if each.at_ms >= now - GONE_MS), key=lambda each: each.name)
