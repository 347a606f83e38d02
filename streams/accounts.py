"""`parley:usage:<user>:<day>`: what a user has used on one day (UTC), over all sessions, and what each had a part in it.

A session's part only grows, so whoever has the session writes all of it each time (`<sid>/<name>`); the script adds to the
total (`<name>`) what it is more than before. Written twice, late, or by a bridge that has lost the session, it changes
nothing. The hash is in no session's slot of Redis Cluster; a takeover makes it again from the entries of `turns`.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys
from streams.errors import StreamUnavailable
from streams.sessions import Session
from streams.usage import Spent, Usage

# KEYS: the day. ARGV: sid, ttl, then name and number of each. Answers the totals in the same order.
_KEEP = """
local totals = {}
for i = 3, #ARGV, 2 do
  local field = ARGV[1] .. '/' .. ARGV[i]
  local more = tonumber(ARGV[i + 1]) - tonumber(redis.call('HGET', KEYS[1], field) or '0')
  if more > 0 then
    redis.call('HSET', KEYS[1], field, ARGV[i + 1])
    redis.call('HINCRBY', KEYS[1], ARGV[i], string.format('%.0f', more))
  end
  totals[#totals + 1] = redis.call('HGET', KEYS[1], ARGV[i]) or '0'
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return totals
"""

# Only while the session is there: what is late brings nothing back.
_SHOW = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSET', KEYS[1], unpack(ARGV))
"""


_NAMES = Spent.__struct_fields__


async def keep(redis: Redis, user: str, session: Session, day: str, spent: Spent) -> Spent:
    """Write what a session has spent on this day so far; returns the user's total. Raises StreamUnavailable."""
    numbers = [part for name in _NAMES for part in (name, getattr(spent, name))]
    key = keys.usage(user, day)
    try:
        totals: Any = await redis.eval(_KEEP, 1, key, session.sid, keys.USAGE_TTL_MS, *numbers)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{key}: {error}") from error
    return Spent(*map(int, totals))


async def total(redis: Redis, user: str, day: str) -> Spent:
    """What the user has spent on this day. Raises StreamUnavailable."""
    key = keys.usage(user, day)
    try:
        totals = await redis.hmget(key, list(_NAMES))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{key}: {error}") from error
    return Spent(*(int(number or 0) for number in totals))


async def show(redis: Redis, session: Session, usage: Usage, ms: int, *, latency_ms: int | None = None) -> None:
    """Among what people see of a session: `usd`, `seconds`, tokens and counts. Raises StreamUnavailable.

    `latency_ms`: how soon the latest answer began; None: nobody knows, and what stands there stays.
    """
    counts = ("tokens", "responses", "transcriptions", "unpriced")
    shown = {"usd": usage.usd, "seconds": f"{ms // 1000}", **{name: str(getattr(usage, name)) for name in counts}}
    if latency_ms is not None:
        shown["latency_ms"] = f"{latency_ms}"
    try:
        await redis.eval(_SHOW, 1, session.keys.meta, *(part for pair in shown.items() for part in pair))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.meta}: {error}") from error
