"""What a server has lost of what was written to it: it came back from a file, or another one has taken its place."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from streams.consumer import READ_AGAIN_AFTER_S, last_id
from streams.errors import Over, StreamUnavailable
from streams.ids import EntryId


async def has_lost(redis: Redis, stream: str, written: EntryId | None) -> bool:
    """Whether the stream ends before the entry that was stored last. Raises Over; StreamUnavailable after some tries."""
    if written is None:
        return False
    for pause in (*READ_AGAIN_AFTER_S, None):
        try:
            there = await last_id(redis, stream)
            break
        except StreamUnavailable:
            if pause is None:
                raise
            await asyncio.sleep(pause)
    if there is None:
        raise Over(stream)
    return there < written
