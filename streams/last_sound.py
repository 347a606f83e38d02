"""Where in `pcm` the last so many bytes of sound begin: counted where they are, as nobody wants to have them for that."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.connection import text
from streams.errors import StreamUnavailable
from streams.ids import EntryId

PAGE = 50
"""Entries that the script holds at a time: of 2 KB, or of 48 where the transcoder made them."""

# KEYS[1] pcm; ARGV[1] bytes, ARGV[2] the page. Gives an id, or nothing where nothing is.
_LOOK = """
local wanted, heard, oldest, upto = tonumber(ARGV[1]), 0, false, '+'
while true do
    local page = redis.call('XREVRANGE', KEYS[1], upto, '-', 'COUNT', ARGV[2])
    for _, entry in ipairs(page) do
        local fields, is_audio, size = entry[2], false, 0
        oldest = entry[1]
        for at = 1, #fields, 2 do
            if fields[at] == 'kind' then is_audio = fields[at + 1] == 'audio' end
            if fields[at] == 'audio' then size = #fields[at + 1] end
        end
        if is_audio then heard = heard + size end
        if heard >= wanted then return oldest end
    end
    if #page == 0 then return oldest end
    upto = '(' .. oldest
end
"""


async def last_sound(redis: Redis, stream: str, size: int) -> EntryId | None:
    """The entry with which the last `size` bytes of sound begin, or all that is left; None when there is nothing.

    Raises StreamUnavailable.
    """
    try:
        found: Any = await redis.eval(_LOOK, 1, stream, size, PAGE)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error
    return None if found is None else EntryId.parse(text(cast(bytes, found)))
