"""`parley:{sid}:play:<codec>`: `down` for a client that wants another codec. A gateway opens it, a transcoder fills it.

It has the entries of `down`, one for one and under the same ids, so that whoever reads it uses the same cursors and the
same `down.decoder`. Only audio differs. At another rate `Audio.audio` lags up to 2.3 ms (16 and 48 kHz) or 4.4 ms (8 kHz)
behind its `start_ms`. In Opus and AAC `Coded` stands for `Audio`, with the packets that are complete with it: up to a
packet's length behind what was said, with AAC three. An entry may have none; the last of a part come as the `tail` of the
event that ends it.

That the key exists is what says that the stream is wanted: a transcoder looks for it when it begins, also when it takes a
session over, and each time the session's `plays` channel says something. What was asked of the codec stands in the
session's marks, under `play/<codec>`, since the stream is trimmed: what was asked first holds for the session.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import codec, down
from streams.coding import ANY, Coding
from streams.dispatch import hand_out
from streams.errors import Over, StreamUnavailable
from streams.ids import BIRTH
from streams.keys import PLAY_CODECS, PlayCodec
from streams.pcm import SAMPLE_RATE
from streams.sessions import Session

# KEYS: play, down, the channel, marks. ARGV: the mark, what it says, the birth's id, its fields. Born whole, with the life
# of `down`. '1': it is there now.
_OPEN = """
local ttl = redis.call('PTTL', KEYS[2])
if ttl <= 0 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
  if redis.call('PTTL', KEYS[4]) < 0 then redis.call('PEXPIRE', KEYS[4], ttl) end
end
redis.call('SPUBLISH', KEYS[3], '')
return 1
"""


def sample_rate(codec: PlayCodec) -> int:
    """Hertz, of a codec that is PCM."""
    return int(codec.rpartition("_")[2])


def rate_of(codec: PlayCodec | None) -> int:
    """Of the samples in this play stream, or in `down` (None). Of packets it is what their places are counted in."""
    return SAMPLE_RATE if codec is None or not codec.startswith("pcm16_") else sample_rate(codec)


async def open_play(redis: Redis, session: Session, codec_name: PlayCodec, coding: Coding = ANY) -> None:
    """Have `keys.play(codec)` filled from now on. Read it from `BIRTH`, or from a cursor of `down`.

    Again is harmless, and changes nothing: what was asked first of the codec (`coding`) holds for the session.

    It begins with what `down` still holds. Raises Over, StreamUnavailable.
    """
    k = session.keys
    birth = (_mark(codec_name), msgspec.json.encode(coding), str(BIRTH), *codec.encode(down.Opened()))
    try:
        is_there = await redis.eval(_OPEN, 4, k.play(codec_name), k.down, k.plays, k.marks, *cast(Any, birth))
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


async def coding_of(redis: Redis, session: Session, codec_name: PlayCodec) -> Coding:
    """What was asked of the codec. Raises StreamUnavailable."""
    try:
        said = await cast(Awaitable[bytes | None], redis.hget(session.keys.marks, _mark(codec_name)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.marks}: {error}") from error
    return ANY if said is None else msgspec.json.decode(said, type=Coding)


def _mark(codec_name: PlayCodec) -> str:
    return f"play/{codec_name}"
