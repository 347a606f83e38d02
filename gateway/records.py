"""Sessions as clients create them by request (contract C): what they asked for, and how far they are.

A record outlives the conversations that are held under its id: those are sessions of ours, opened when the client speaks or
listens, and named by the record's user and id. Records live in Redis, so that any gateway knows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.output import BitRate, FrameMs
from streams import keys
from streams.coding import Coding
from streams.connection import text
from streams.errors import StreamUnavailable
from streams.sessions import now_ms

MAX_LISTED = 200
"""Records that a user is told of: the newest. Older ones live on for whoever knows their id."""

ListenFormat = Literal["wav", "aac", "opus"]
"""What a stream of audio is: WAV, AAC in ADTS, Opus in Ogg."""

InputFormat = Literal["pcm16", "stream"]
"""What is uploaded: PCM16, or the next bytes of one recording."""

Status = Literal["created", "running", "stopped", "completed"]

_ID = re.compile(r"[0-9a-f]{32}")

# KEYS: the record. ARGV: ttl, then field and value by turns. The record as it is then; nothing when there is none.
# A status never goes back, and what is completed stays closed.
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local rank = {created = 0, running = 1, stopped = 2, completed = 3}
for i = 2, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local status = redis.call('HGET', KEYS[1], 'status')
  local refused = (field == 'status' and rank[value] < rank[status])
    or (field == 'closed' and value == '0' and status == 'completed')
  if not refused then redis.call('HSET', KEYS[1], field, value) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
"""


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """In what the session's sound is heard, as far as the client has said."""

    audio_format: ListenFormat | None = None
    bitrate: BitRate | None = None
    frame_ms: FrameMs | None = None

    @property
    def coding(self) -> Coding:
        return Coding(self.bitrate, self.frame_ms)

    def over(self, other: Self) -> Self:
        """This, and what it leaves open from the other."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(other, **said)


AS_IT_IS = Heard()
"""Nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for when it creates a session."""

    objective: str
    file_ids: tuple[str, ...]
    sample_rate: int
    """Hertz, of both directions"""
    packet_timestamps: bool
    """each upload begins with the time when it was sent"""
    heard: Heard = AS_IT_IS
    input_format: InputFormat = "pcm16"
    record: bool | None = None
    """whether the user agrees to be recorded; None: nothing is said of it"""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, as it was when it was read."""

    id: str
    user: str
    objective: str
    file_ids: tuple[str, ...]
    status: Status
    created_ms: int
    sample_rate: int
    packet_timestamps: bool
    closed: bool
    """the client has ended its conversation: uploads open no new one until it starts or listens again"""
    latency: dict[str, int] | None
    """the last report of the one-way latency of its uploads, in milliseconds; see `gateway.latency`"""
    heard: Heard = AS_IT_IS
    input_format: InputFormat = "pcm16"
    recorded_by: str | None = None
    """see `turns.Opened`"""


class Records:
    """Every call raises StreamUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def create(self, user: str, wanted: Wanted, recorded_by: str | None = None) -> Record:
        """A new one. `recorded_by`: of its sessions, see `turns.Opened`."""
        record_id, now = keys.new_sid(), now_ms()
        fields: dict[Any, Any] = {
            "user": user,
            "objective": wanted.objective,
            "file_ids": msgspec.json.encode(wanted.file_ids),
            "status": "created",
            "created_ms": now,
            "sample_rate": wanted.sample_rate,
            "packet_timestamps": int(wanted.packet_timestamps),
            "closed": 0,
            "heard": msgspec.json.encode(wanted.heard),
            "input_format": wanted.input_format,
        }
        if recorded_by is not None:
            fields["recorded_by"] = recorded_by
        key, listing = keys.record(record_id), keys.records(user)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(key, mapping=fields)
                pipeline.pexpire(key, keys.RECORD_TTL_MS)
                pipeline.zadd(listing, {record_id: now})
                pipeline.zremrangebyrank(listing, 0, -MAX_LISTED - 1)
                pipeline.pexpire(listing, keys.RECORD_TTL_MS)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{key}: {error}") from error
        return Record(
            record_id,
            user,
            wanted.objective,
            wanted.file_ids,
            "created",
            now,
            wanted.sample_rate,
            wanted.packet_timestamps,
            closed=False,
            latency=None,
            heard=wanted.heard,
            input_format=wanted.input_format,
            recorded_by=recorded_by,
        )

    async def of(self, user: str) -> list[Record]:
        """This user's, oldest first."""
        listing = keys.records(user)
        try:
            ids = [text(cast(bytes, member)) for member in await self._redis.zrange(listing, 0, -1)]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for record_id in ids:
                    pipeline.hgetall(keys.record(record_id))
                found: list[Any] = await pipeline.execute() if ids else []
            gone = [record_id for record_id, fields in zip(ids, found, strict=True) if not fields]
            if gone:
                await self._redis.zrem(listing, *gone)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{listing}: {error}") from error
        return [_read(record_id, fields) for record_id, fields in zip(ids, found, strict=True) if fields]

    async def get(self, user: str, record_id: str) -> Record | None:
        """The one with this id, if it is this user's. Being looked at is no use: its time runs on."""
        if _ID.fullmatch(record_id) is None:
            return None
        try:
            fields: Any = await self._redis.hgetall(keys.record(record_id))
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.record(record_id)}: {error}") from error
        record = _read(record_id, fields) if fields else None
        return record if record is not None and record.user == user else None

    async def change(self, record: Record, fields: Mapping[str, str | int | bytes]) -> Record | None:
        """Set these, as far as they may be set, and have the record live on. None when it is gone."""
        flat = [part for pair in fields.items() for part in pair]
        try:
            answer: Any = await self._redis.eval(_CHANGE, 1, keys.record(record.id), keys.RECORD_TTL_MS, *flat)
            await self._redis.pexpire(keys.records(record.user), keys.RECORD_TTL_MS)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.record(record.id)}: {error}") from error
        return _read(record.id, dict(zip(answer[::2], answer[1::2], strict=True))) if answer else None


def _read(record_id: str, fields: Mapping[bytes, bytes]) -> Record:
    latency, heard, recorded = fields.get(b"latency"), fields.get(b"heard"), fields.get(b"recorded_by")
    return Record(
        id=record_id,
        user=text(fields[b"user"]),
        objective=text(fields[b"objective"]),
        file_ids=msgspec.json.decode(fields[b"file_ids"], type=tuple[str, ...]),
        status=cast(Status, text(fields[b"status"])),
        created_ms=int(fields[b"created_ms"]),
        sample_rate=int(fields[b"sample_rate"]),
        packet_timestamps=fields[b"packet_timestamps"] == b"1",
        closed=fields[b"closed"] == b"1",
        latency=None if latency is None else msgspec.json.decode(latency, type=dict[str, int]),
        heard=AS_IT_IS if heard is None else msgspec.json.decode(heard, type=Heard),
        input_format="stream" if fields.get(b"input_format") == b"stream" else "pcm16",
        recorded_by=None if recorded is None else text(recorded),
    )
