"""The audio formats that a client has named in its session, kept where any gateway finds them: in the session's marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import StreamUnavailable
from streams.sessions import Session

INPUT, OUTPUT = "format/input", "format/output"
"""Fields of the marks."""

Named = Mapping[str, Any]

# A session that is over is not to be remembered for ever.
_KEEP = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end"


async def keep(redis: Redis, session: Session, *, input: Named | None = None, output: Named | None = None) -> None:  # noqa: A002
    """What is None stays as it is. Raises StreamUnavailable."""
    named = {INPUT: input, OUTPUT: output}
    given = [(name, msgspec.json.encode(value)) for name, value in named.items() if value is not None]
    if not given:
        return
    marks, fields = session.keys.marks, [each for pair in given for each in pair]
    try:
        await cast(Any, redis.eval(_KEEP, 1, marks, *cast(Any, fields)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{marks}: {error}") from error


async def kept(redis: Redis, session: Session) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """For what is sent, for what is heard. Raises StreamUnavailable."""
    marks = session.keys.marks
    try:
        found: list[Any] = await cast(Any, redis.hmget(marks, [INPUT, OUTPUT]))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{marks}: {error}") from error
    input_, output = (None if value is None else msgspec.json.decode(value, type=dict[str, Any]) for value in found)
    return input_, output
