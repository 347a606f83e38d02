"""How far the workers are behind: sessions that were handed out and that nobody works on, and for how long by now.

Not Redis's own `lag` of a group: that is nil from the moment at which somebody who waited gave up until the workers have
caught up. Here what waits is looked at, as far as LOOK_AT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys
from streams.dispatch import ORPHAN_MS
from streams.errors import StreamUnavailable

LOOK_AT = 1_000
"""Sessions that wait, at most: more are counted as so many."""

LATE_MS = 2_000
"""By so much later than it may be taken over a session whose worker has died is found, usually."""

# KEYS: a dispatch stream. ARGV: its group, how long a session may be without its worker's word in ms, how many are looked
# at. Answers how many wait, for how long the first of them does in ms, how many are worked on.
_LOOK = """
local last = '0-0'
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return {0, 0, 0} end
local pending, orphans = 0, {}
for _, group in ipairs(groups) do
  local about = {}
  for i = 1, #group, 2 do about[group[i]] = group[i + 1] end
  if about.name == ARGV[1] then
    last, pending = about['last-delivered-id'], about.pending
    if pending > 0 then orphans = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], '-', '+', ARGV[3]) end
  end
end
local new = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', ARGV[3])
local time, longest = redis.call('TIME'), 0
if new[1] then longest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(new[1][1], '^%d+')) end
for _, orphan in ipairs(orphans) do longest = math.max(longest, orphan[3]) end
return {#new + #orphans, math.max(longest, 0), pending - #orphans}
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """Of the workers of one role."""

    waiting: int
    """sessions that nobody works on: never taken, or left behind by a worker that died"""
    waiting_ms: int
    """how long the first of them has waited"""
    served: int
    """sessions that somebody works on"""


async def lag(redis: Redis, role: keys.Role) -> Lag:
    """As it is now. Raises StreamUnavailable."""
    stream = keys.dispatch(role)
    try:
        found: Any = await redis.eval(_LOOK, 1, stream, keys.DISPATCH_GROUP, ORPHAN_MS[role] + LATE_MS, LOOK_AT)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    return Lag(*map(int, found))
