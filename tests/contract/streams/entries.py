"""What a stream holds, raw: as an operator would read it."""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis

from streams.ids import EntryId


async def raw(redis: Redis, stream: str, after: EntryId | None = None) -> list[tuple[EntryId, dict[bytes, bytes]]]:
    """All entries, or those behind `after`."""
    page = await redis.xrange(stream, min="-" if after is None else f"({after}")
    return [(EntryId.parse(i), f) for i, f in cast(list[tuple[bytes, dict[bytes, bytes]]], page)]


async def texts(redis: Redis, stream: str) -> list[str]:
    """The words of its text entries, in order."""
    return [fields[b"text"].decode() for _, fields in await raw(redis, stream) if b"text" in fields]
