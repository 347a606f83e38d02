"""What an operator sees of the sessions that are live: one line each, a page at a time, from any gateway.

Nothing is scanned. `parley:sessions` and `parley:of:<user>` say which sessions there are, and one script a session looks
at its keys at one moment. It reads no audio, so a page of fifty costs the server about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys, turns
from streams.codec import Decoder
from streams.connection import text
from streams.errors import MalformedEntry, StreamUnavailable
from streams.ids import SEQ_STRIDE, EntryId
from streams.keys import SessionKeys

MAX_PAGE = 100

State = Literal["quiet", "waiting", "live", "detached"]
"""`quiet`: nothing was said yet, so no bridge was told; `waiting`: no bridge has it, though one was told; `live`: it goes
on; `detached`: its client is away, and is waited for"""

# KEYS: marks, meta, attach, lease, cursors, turns, up, pcm, then the play streams. ARGV: fields of the marks. Of the streams
# only lengths, but for the first entry of turns, which says how the session was opened. False: there is no such session.
_LOOK = """
local marks = redis.call('HMGET', KEYS[1], unpack(ARGV))
if not marks[1] then return false end
local plays = {}
for i = 9, #KEYS do plays[#plays + 1] = redis.call('EXISTS', KEYS[i]) end
return {
  marks, redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[3]), redis.call('GET', KEYS[4]),
  redis.call('HMGET', KEYS[5], 'arrived', 'detached_ms'), redis.call('XRANGE', KEYS[6], '-', '+', 'COUNT', 1),
  redis.call('XLEN', KEYS[8]), plays
}
"""
_MARKS = ("at", "up", "pcm", "down", keys.dispatch_field("bridge"), "format/input")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One live session."""

    id: str
    user: str
    conversation: str
    door: str
    persona: str
    state: State
    input: str
    """what its client sends: `pcm16`, `recordings`, or what the stream in `up` is"""
    output: str
    """what its client hears: `pcm16` at 24 kHz, or a codec of the play streams"""
    created_ms: int
    detached_ms: int
    """when its client was last let go; 0: never"""
    gateway: str | None
    """that has its client's connection"""
    bridge: str | None
    uplink_waiting: int
    """entries that the client said and no worker has taken on yet"""
    downlink_waiting: int
    """entries of the answer that are not known to have reached the client: a tenth of a second of sound each, at most"""
    latency_ms: int | None
    """from the end of what was said to the first sound of the latest answer, at the bridge"""
    seconds: int
    responses: int
    tokens: int
    usd: str
    unpriced: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Newest sessions first."""

    sessions: list[Line]
    total: int
    """sessions there are, on this page or not"""
    next: str | None
    """`before` of the page that follows"""


class Cursor(NamedTuple):
    """Where a page begins: behind this session."""

    created_ms: int
    sid: str

    def __str__(self) -> str:
        return f"{self.created_ms}-{self.sid}"

    @classmethod
    def parse(cls, value: str) -> Cursor:
        """Raises ValueError."""
        created, _, sid = value.partition("-")
        return cls(int(created), sid)


async def page(redis: Redis, *, limit: int = 50, before: Cursor | None = None, user: str | None = None) -> Page:
    """The newest sessions before a cursor; or all live ones of a user, which are few. Raises StreamUnavailable."""
    try:
        if user is not None:
            listed: list[Any] = await redis.zrange(keys.sessions_of(user), 0, MAX_PAGE - 1, desc=True)
            lines = [line for line in await _look(redis, [text(sid) for sid in listed]) if line is not None]
            return Page(sessions=lines, total=len(lines), next=None)
        total = int(await redis.zcard(keys.SESSIONS))
        found = await _newest(redis, limit + 1, before)
        lines = [line for line in await _look(redis, [each.sid for each in found[:limit]]) if line is not None]
        return Page(sessions=lines, total=total, next=str(found[limit - 1]) if len(found) > limit else None)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.SESSIONS}: {error}") from error


async def line(redis: Redis, sid: str) -> Line | None:
    """One of them; None when there is none. Raises StreamUnavailable."""
    try:
        return (await _look(redis, [sid]))[0]
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{SessionKeys(sid).marks}: {error}") from error


async def _newest(redis: Redis, count: int, before: Cursor | None) -> list[Cursor]:
    """Ordered as the sorted set is, from its end: by time, and where that is the same by sid."""
    if before is None:
        found: Any = await redis.zrange(keys.SESSIONS, 0, count - 1, desc=True, withscores=True)
        return _cursors(found)
    at, below = before.created_ms, f"({before.created_ms}"
    same: Any = await redis.zrange(keys.SESSIONS, at, at, byscore=True, withscores=True)
    older: Any = await redis.zrange(
        keys.SESSIONS, below, "-inf", byscore=True, desc=True, offset=0, num=count, withscores=True
    )
    beside = sorted((each for each in _cursors(same) if each.sid < before.sid), reverse=True)
    return [*beside, *_cursors(older)][:count]


def _cursors(found: Sequence[Sequence[Any]]) -> list[Cursor]:
    return [Cursor(int(score), text(sid)) for sid, score in found]


async def _look(redis: Redis, sids: Sequence[str]) -> list[Line | None]:
    async with redis.pipeline(transaction=False) as pipeline:
        for sid in sids:
            k = SessionKeys(sid)
            looked_at = (k.marks, k.meta, k.attach, k.lease, k.cursors, k.turns, k.up, k.pcm, *k.all_plays)
            pipeline.eval(_LOOK, len(looked_at), *looked_at, *_MARKS)
        found: list[Any] = await pipeline.execute() if sids else []
    return [None if seen is None else _line(sid, seen) for sid, seen in zip(sids, found, strict=True)]


_decoder: Decoder[turns.TurnsMessage] = turns.decoder


def _line(sid: str, seen: list[Any]) -> Line:
    (at, up, pcm, down, told, named), flat, attach, lease, (arrived, detached), first, waiting_pcm, plays = seen
    meta = {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
    user, conversation = keys.named_by(text(at))
    opened, state = _opened(first), state_of(attached=attach is not None, leased=lease is not None, told=told is not None)
    numbered = opened is not None and opened.numbered
    return Line(
        id=sid,
        user=user,
        conversation=conversation,
        door=meta.get("door", ""),
        persona=meta.get("persona", ""),
        state=state,
        input=_input(opened, named, is_up=up is not None),
        output=next((codec for codec, there in zip(keys.PLAY_CODECS, plays, strict=True) if there), "pcm16"),
        created_ms=_number(meta.get("created_ms")),
        detached_ms=_number(detached),
        gateway=None if attach is None else text(attach).partition("|")[2],
        bridge=None if lease is None else text(lease).partition("|")[0],
        uplink_waiting=uplink_waiting(_id(up), _id(pcm), numbered=numbered) + (waiting_pcm if state == "waiting" else 0),
        downlink_waiting=downlink_waiting(_id(down), _id(arrived)),
        latency_ms=_number(meta["latency_ms"]) if "latency_ms" in meta else None,
        seconds=_number(meta.get("seconds")),
        responses=_number(meta.get("responses")),
        tokens=_number(meta.get("tokens")),
        usd=meta.get("usd", "0"),
        unpriced=_number(meta.get("unpriced")),
    )


def state_of(*, attached: bool, leased: bool, told: bool) -> State:
    """Of what Redis shows at one moment."""
    if told and not leased:
        return "waiting"
    if not attached:
        return "detached"
    return "live" if leased else "quiet"


def uplink_waiting(up: EntryId | None, pcm: EntryId | None, *, numbered: bool) -> int:
    """Entries of `up` of which nothing is in `pcm` yet. A numbering client's lie a stride apart."""
    if up is None:
        return 0
    done = pcm.right // SEQ_STRIDE if pcm is not None and pcm.left == up.left else 0
    if pcm is not None and pcm.left > up.left:
        return 0
    behind = max(0, up.right - done)
    return -(-behind // SEQ_STRIDE) if numbered else behind


def downlink_waiting(down: EntryId | None, arrived: EntryId | None) -> int:
    """Entries of `down` behind the last that has arrived; of another bridge's reign only the present one's are counted."""
    if down is None:
        return 0
    return max(0, down.right - arrived.right) if arrived is not None and arrived.left == down.left else down.right


def _opened(first: list[Any]) -> turns.Opened | None:
    if not first:
        return None
    fields = first[0][1]
    try:
        message = _decoder.decode(dict(zip(fields[::2], fields[1::2], strict=True)))
    except MalformedEntry:
        return None
    return message if isinstance(message, turns.Opened) else None


def _input(opened: turns.Opened | None, named: Any, *, is_up: bool) -> str:
    if opened is not None and opened.input is not None:
        return opened.input
    if named is not None:
        return _type_of(named)
    return "recordings" if is_up else "pcm16"


def _type_of(named: bytes) -> str:
    """A client of the Realtime protocol names formats as `{"type":"audio/pcm","rate":24000}`."""
    try:
        kind = msgspec.json.decode(named, type=dict[str, Any]).get("type")
    except msgspec.DecodeError:
        kind = None
    return kind if isinstance(kind, str) else "pcm16"


def _id(value: Any) -> EntryId | None:
    return None if value is None else EntryId.parse(value)


def _number(value: Any) -> int:
    return int(value or 0)
