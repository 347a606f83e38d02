"""Forget what has been dealt with. Never the last entry: its id is what fences and tells resends apart."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import StreamUnavailable
from streams.ids import EntryId


async def trim(redis: Redis, stream: str, upto: EntryId, *, but: int = 0) -> int:
    """Remove all entries up to and with `upto`, but never the stream's last one. Gives how many were removed.

    `but`: so many of them stay. Raises StreamUnavailable.
    """
    try:
        if but:
            kept: Any = await redis.xrevrange(stream, max=str(upto), count=but + 1)
            if len(kept) <= but:
                return 0
            upto = EntryId.parse(kept[-1][0])
        last = await redis.xrevrange(stream, count=1)
        if not last:
            return 0
        last_id = EntryId.parse(last[0][0] or b"")
        keep_from = min(EntryId(upto.left, upto.right + 1), last_id)
        return int(await redis.xtrim(stream, minid=str(keep_from), approximate=False))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
