"""Where a session's transcoder stands in `up`, so that another one goes on from there to the sample.

It is kept in `parley:{sid}:marks`, field `transcoded`, as JSON, by the same script that trims `up` up to it. So all that
`up` still holds lies behind it, and whoever takes over does that again under the same ids. Of a stream of chunks the field
`decoder` holds what its decoder knows there (`transcoder.stream_state`).
"""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import MalformedEntry, StreamUnavailable
from streams.ids import ZERO, EntryId
from streams.sessions import Session

FIELD, DECODER_FIELD = "transcoded", "decoder"

# KEYS: up, marks. ARGV: left and right of the entry, the JSON, what the decoder knows. Never backwards: a worker that was
# overtaken changes nothing.
# And never the stream's last entry: its id is what tells resends apart.
_SAVE = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last or redis.call('PTTL', KEYS[2]) <= 0 then return 0 end
local function split(id)
  local left, right = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(left), tonumber(right)
end
local left, right = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HGET', KEYS[2], 'transcoded')
if known then
  local have_left, have_right = split(cjson.decode(known)['upto'])
  if left < have_left or (left == have_left and right <= have_right) then return 0 end
end
redis.call('HSET', KEYS[2], 'transcoded', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'decoder', ARGV[4]) else redis.call('HDEL', KEYS[2], 'decoder') end
local last_left, last_right = split(last[1])
if left > last_left or (left == last_left and right >= last_right) then
  redis.call('XTRIM', KEYS[1], 'MINID', last[1])
else
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', left, right + 1))
end
return 1
"""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of `up` up to and with the entry `upto` is done, and gone. Where that leaves the next entry:"""

    upto: str
    source: str = "files"
    """of the gen: see `streams.up.GenOpened`"""
    position: int = 0
    """samples of the source since the utterance began"""
    made: int = 0
    """samples in `pcm` before the pieces of the next entry: their absolute offset"""
    recorded: int = 0
    """samples in the session's recording, which is where that goes on"""
    recorded_rate: int = 0
    """hertz of the recording; 0: nothing was recorded yet"""
    is_broken: bool = False
    """nothing comes of the chunks any more, until another recording or gen begins; the client was told"""
    decoder: bytes = b""
    """what the decoder of the chunks knows; empty: it begins. In a field of its own"""

    @property
    def entry(self) -> EntryId:
        return EntryId.parse(self.upto)


START = Checkpoint(upto=str(ZERO))
"""Of a session that no transcoder has worked on."""


async def load(redis: Redis, session: Session) -> Checkpoint:
    """Where the last transcoder stood. Raises StreamUnavailable; MalformedEntry when somebody else wrote there."""
    try:
        value, decoder = await redis.hmget(session.keys.marks, FIELD, DECODER_FIELD)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.marks}: {error}") from error
    if value is None:
        return START
    try:
        return msgspec.structs.replace(msgspec.json.decode(value, type=Checkpoint), decoder=decoder or b"")
    except msgspec.MsgspecError as error:
        raise MalformedEntry(f"{session.keys.marks} {FIELD}: {error}") from error


async def save(redis: Redis, session: Session, checkpoint: Checkpoint) -> None:
    """Keep it unless a later one is kept, and trim `up` up to it; its last entry stays. Raises StreamUnavailable."""
    k, entry = session.keys, checkpoint.entry
    told = msgspec.json.encode(msgspec.structs.replace(checkpoint, decoder=b""))
    try:
        await redis.eval(_SAVE, 2, k.up, k.marks, entry.left, entry.right, told, checkpoint.decoder)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{k.up}: {error}") from error
