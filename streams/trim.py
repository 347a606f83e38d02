"""Forget what has been dealt with. Never the last entry: its id is what fences and tells resends apart."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import StreamUnavailable
from streams.ids import EntryId
from streams.keys import recorded_of

HELD_ENTRIES = 1500
"""Of a stream, for a recording that has not come so far yet: minutes, while a worker relieves another. More are trimmed all
the same, and missing in it."""


async def trim(redis: Redis, stream: str, upto: EntryId, *, but: int = 0) -> int:
    """Remove all entries up to and with `upto`, but never the stream's last one. Gives how many were removed.

    `but`: so many of them stay. What is still to be recorded stays, too. Raises StreamUnavailable.
    """
    try:
        if but:
            kept: Any = await redis.xrevrange(stream, max=str(upto), count=but + 1)
            if len(kept) <= but:
                return 0
            upto = EntryId.parse(kept[-1][0])
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.xrevrange(stream, count=1)
            pipeline.hget(recorded_of(stream), stream.rpartition(":")[2])
            pipeline.xlen(stream)
            last, recorded, length = await pipeline.execute()
        if not last:
            return 0
        last_id = EntryId.parse(last[0][0] or b"")
        if recorded is not None and length < HELD_ENTRIES:
            upto = min(upto, EntryId.parse(recorded))
        keep_from = min(EntryId(upto.left, upto.right + 1), last_id)
        return int(await redis.xtrim(stream, minid=str(keep_from), approximate=False))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
