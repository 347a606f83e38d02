"""Forget what has been dealt with. Never the last entry: its id is what fences and tells resends apart."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import StreamUnavailable
from streams.ids import EntryId


async def trim(redis: Redis, stream: str, upto: EntryId) -> int:
    """Remove all entries up to and with `upto`, but never the stream's last one. Gives how many were removed.

    Raises StreamUnavailable.
    """
    try:
        last = await redis.xrevrange(stream, count=1)
        if not last:
            return 0
        last_id = EntryId.parse(last[0][0] or b"")
        keep_from = min(EntryId(upto.left, upto.right + 1), last_id)
        return int(await redis.xtrim(stream, minid=str(keep_from), approximate=False))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
