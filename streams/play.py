"""`parley:{sid}:play:<codec>`: `down` for a client that wants another codec. A gateway opens it, a transcoder fills it.

It has the entries of `down`, one for one and under the same ids, so that whoever reads it uses the same cursors and the
same `down.decoder`. Only audio differs: `Audio.audio` has the codec's rate and lags up to 2.3 ms (16 and 48 kHz) or 4.4 ms
(8 kHz) behind its `start_ms`; an entry may have none; the last samples of a part come as the `tail` of the event that
ends it.

That the key exists is what says that the stream is wanted: a transcoder looks for it when it begins, also when it takes a
session over, and each time the session's `plays` channel says something.
"""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import codec, down
from streams.dispatch import hand_out
from streams.errors import Over, StreamUnavailable
from streams.ids import BIRTH
from streams.keys import PLAY_CODECS, PlayCodec
from streams.sessions import Session

# KEYS: play, down, the channel. ARGV: the birth's id, its fields. Born whole, with the life of `down`. '1': it is there now.
_OPEN = """
local ttl = redis.call('PTTL', KEYS[2])
if ttl <= 0 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], unpack(ARGV))
  redis.call('PEXPIRE', KEYS[1], ttl)
end
redis.call('PUBLISH', KEYS[3], '')
return 1
"""


def sample_rate(codec: PlayCodec) -> int:
    """Hertz."""
    return int(codec.rpartition("_")[2])


async def open_play(redis: Redis, session: Session, codec_name: PlayCodec) -> None:
    """Have `keys.play(codec)` filled from now on; again is harmless. Read it from `BIRTH`, or from a cursor of `down`.

    It begins with what `down` still holds. Raises Over, StreamUnavailable.
    """
    k = session.keys
    birth = (str(BIRTH), *codec.encode(down.Opened()))
    try:
        is_there = await redis.eval(_OPEN, 3, k.play(codec_name), k.down, k.plays, *cast(Any, birth))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{k.play(codec_name)}: {error}") from error
    if not is_there:
        raise Over(k.down)
    await hand_out(redis, session, "transcoder")


async def open_plays(redis: Redis, session: Session) -> list[PlayCodec]:
    """Which play streams this session has. Raises StreamUnavailable."""
    try:
        async with redis.pipeline(transaction=False) as pipeline:
            for name in PLAY_CODECS:
                pipeline.exists(session.keys.play(name))
            there = await pipeline.execute()
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.plays}: {error}") from error
    return [name for name, exists in zip(PLAY_CODECS, there, strict=True) if exists]
