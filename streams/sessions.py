"""The life of a session in Redis: created whole, found by its name, renewed while somebody holds it, ended once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from streams import codec, down, keys, turns, up
from streams.connection import text
from streams.errors import StreamUnavailable
from streams.ids import BIRTH, EntryId
from streams.kept import UNSPOKEN, Kept, list_session, listing
from streams.keys import SESSION_TTL_MS, SessionKeys
from streams.writer import Writer

logger = logging.getLogger(__name__)

REAP_PAGE = 500
"""Sessions looked at in one question to Redis."""

LINGER_MS = 10_000
"""How long an ended session's last words stay readable."""

RECORD_WITHIN_MS = 60_000
"""How long what is not recorded yet waits for a worker when the session has ended."""

ABANDONED = "abandoned"
"""Why a session has ended that nobody has held for ABANDONED_MS."""

ABANDONED_MS = 10 * 60_000
"""Ten renewals: no client, no bridge, and nobody who could take it over."""

# Compare-and-delete and compare-and-expire on the index: only while it still names this session.
_FORGET = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"

_RENEW_KEYS = "for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end"

# All of a session at once. KEYS: up, pcm, down, turns, meta, marks. ARGV: ttl, the index; of each stream its birth's id, how
# many words it has, and these; then meta. A script, for a MULTI of redis-py's cluster client starts a thread a command.
_CREATE = """
local at = 3
for i = 1, 4 do
  local words = tonumber(ARGV[at + 1])
  redis.call('XADD', KEYS[i], ARGV[at], unpack(ARGV, at + 2, at + 1 + words))
  at = at + 2 + words
end
redis.call('HSET', KEYS[5], unpack(ARGV, at))
redis.call('HSET', KEYS[6], 'at', ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
return 1
"""

# KEYS: what goes, then what stays for a while. ARGV: how many go, how long the others stay in ms. Who still reads a stream
# that goes is told to look, and finds it gone.
_END = """
for i, key in ipairs(KEYS) do
  if i <= tonumber(ARGV[1]) then
    redis.call('UNLINK', key)
    redis.call('SPUBLISH', key, '')
  else
    redis.call('PEXPIRE', key, ARGV[2])
  end
end
return 1
"""

# Of a session that is recorded, before it goes. KEYS: heard, pcm, last_pcm, recorded. ARGV: how long it stays in ms. Under
# another name, so that whoever still writes to `pcm` finds it gone.
_LEAVE_TO_RECORD = """
if redis.call('EXISTS', KEYS[1], KEYS[4]) < 2 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[3]) end
for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[1]) end
return 1
"""

# KEYS: cursors, down, attach. ARGV: which, the id, whose attachment says so. Only while the session is there, and no longer
# than it: a late cursor brings nothing back. Whose connection it is may go back, as its client may say that it has less;
# nobody says anything for the connection that came after his, and who has let go, or never had it, only goes on.
_SET_CURSOR = """
local ttl = redis.call('PTTL', KEYS[2])
if ttl <= 0 then return 0 end
local holder = redis.call('GET', KEYS[3])
if holder ~= ARGV[3] then
  if holder and ARGV[3] ~= '' then return 0 end
  local kept = redis.call('HGET', KEYS[1], ARGV[1])
  if kept then
    local left, right = string.match(kept, '^(%d+)-(%d+)$')
    local to_left, to_right = string.match(ARGV[2], '^(%d+)-(%d+)$')
    left, right, to_left, to_right = tonumber(left), tonumber(right), tonumber(to_left), tonumber(to_right)
    if to_left < left or (to_left == left and to_right <= right) then return 0 end
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ttl)
"""

# KEYS: attach, marks, all others. ARGV: whose attachment it is, the field that says that a bridge was told.
_END_UNSPOKEN = """
local who = redis.call('GET', KEYS[1])
if (who and who ~= ARGV[1]) or redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
redis.call('UNLINK', unpack(KEYS))
return 1
"""

# KEYS: attach, marks, then all else that is to run out. ARGV: the marks' field, ms. Nothing when a bridge was told of the
# session, or a connection has it.
_RUN_OUT = """
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1
"""

Cursor = Literal["sent", "arrived", "played"]
"""Written to the socket; known to have reached the client's machine; heard."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that exists in Redis."""

    sid: str
    at: str
    """its index key"""

    @property
    def keys(self) -> SessionKeys:
        return SessionKeys(self.sid)


@dataclass(frozen=True, slots=True)
class Creation:
    """What came of `create`."""

    session: Session
    created: bool
    """False: somebody else was quicker, and this is theirs"""


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Sessions:
    """Creates, finds, renews and ends sessions. Every call raises StreamUnavailable when the server does not answer."""

    def __init__(self, redis: Redis, kept: Kept | None = None, writer: Writer | None = None) -> None:
        """`kept`: what is to become of the sessions that this process ends; None: nothing.

        `writer`: what is written several times a second goes with its appends.
        """
        self._redis, self._writer = redis, writer
        self.kept = kept or Kept(redis)

    async def create(
        self, opened: turns.Opened, conversation: str, *, source: str = "files", meta: Mapping[str, str] | None = None
    ) -> Creation:
        """A session for this user's conversation: first its four streams, whole and with their TTL, then the index.

        The loser of a race deletes its own and is given the winner's.
        """
        session = Session(keys.new_sid(), keys.at(opened.user, conversation))
        try:
            await self._create_streams(session, opened, source, meta or {})
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zadd(keys.SESSIONS, {session.sid: now_ms()})
                list_session(pipeline, opened.user, session.sid)
                await pipeline.execute()
            winner: Any = await self._redis.set(session.at, session.sid, nx=True, px=SESSION_TTL_MS, get=True)
            if winner is not None:
                await self._delete(session)
                return Creation(Session(text(winner), session.at), created=False)
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError):  # one node of a Cluster is full, another has the half of it
                with contextlib.suppress(RedisError, OSError):
                    await self._delete(session)
            raise StreamUnavailable(f"no session could be created: {error}") from error
        return Creation(session, created=True)

    async def _create_streams(self, session: Session, opened: turns.Opened, source: str, meta: Mapping[str, str]) -> None:
        k, born = session.keys, now_ms()
        gen = codec.encode(up.GenOpened(source=source))
        births = (
            (f"{born}-0", gen),
            (f"{born}-0", gen),
            (str(BIRTH), codec.encode(down.Opened())),
            (str(BIRTH), codec.encode(opened)),
        )
        about = {
            "user": opened.user,
            "door": opened.door,
            "persona": opened.persona or "",
            "created_ms": str(born),
            **meta,
        }
        made = (k.up, k.pcm, k.down, k.turns, k.meta, k.marks)
        words: list[Any] = [SESSION_TTL_MS, session.at]
        for entry_id, fields in births:
            words += [entry_id, len(fields), *fields]
        words += [part for pair in about.items() for part in pair]
        await self._redis.eval(_CREATE, len(made), *made, *words)

    async def find(self, user: str, conversation: str) -> Session | None:
        """The live session of this name."""
        at = keys.at(user, conversation)
        try:
            sid = await self._redis.get(at)
            if sid is None or not await self._redis.exists(SessionKeys(text(sid)).down):
                return None
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return Session(text(sid), at)

    async def by_sid(self, sid: str) -> Session | None:
        """The live session with this id."""
        try:
            at = await self._redis.hget(SessionKeys(sid).marks, "at")
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return None if at is None else Session(sid, text(at))

    async def renew(self, session: Session) -> None:
        """Its keys live another 15 minutes; the index only while it still names this session."""
        renewed = [key for key in session.keys.all if key != session.keys.lease and key != session.keys.attach]
        scripts: tuple[tuple[Any, ...], ...] = (
            (_RENEW_KEYS, len(renewed), *renewed, SESSION_TTL_MS),
            (_RENEW, 1, session.at, session.sid, SESSION_TTL_MS),
            listing(keys.named_by(session.at)[0], session.sid),
        )
        try:
            if self._writer is not None:
                await asyncio.gather(*(self._writer.do("EVAL", *script) for script in scripts))
                return
            async with self._redis.pipeline(transaction=False) as pipeline:
                for script in scripts:
                    pipeline.eval(*script)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def last_id(self, session: Session, stream: Literal["up", "pcm", "down", "turns"]) -> EntryId | None:
        """The last id that was appended to this stream since the session was created; None when nothing was."""
        try:
            value = await self._redis.hget(session.keys.marks, stream)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return None if value is None else EntryId.parse(value)

    async def set_cursor(self, session: Session, cursor: Cursor, entry: EntryId, by: str = "") -> None:
        """The client's place in `down`. `by`: the attachment that says so; nothing comes of it when another one has it."""
        k = session.keys
        script = (_SET_CURSOR, 3, k.cursors, k.down, k.attach, cursor, str(entry), by)
        try:
            if self._writer is None:
                await self._redis.eval(*script)
            else:
                await self._writer.do("EVAL", *script)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def cursor(self, session: Session, cursor: Cursor) -> EntryId | None:
        """The client's place in `down`; None when it is not known."""
        try:
            value = await self._redis.hget(session.keys.cursors, cursor)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return None if value is None else EntryId.parse(value)

    async def forget_name(self, session: Session) -> None:
        """Free the name, so that a new session may take it, while the old one is still saying its last words."""
        try:
            await self._redis.eval(_FORGET, 1, session.at, session.sid)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def end(self, session: Session, *, reason: str | None = None, linger_ms: int = LINGER_MS) -> None:
        """The session is over: its name is free, whoever still writes to it is told Over; what is to be kept of it is.

        `reason`: why; None: somebody else has ended it, and has kept it.

        What was said last stays readable for `linger_ms`, for a client that has not heard it yet.
        """
        if reason is None:
            await self.kept.strike(session.sid, session.at)
        else:
            await self.kept.keep(session.sid, session.at, reason)
        await self.forget_name(session)
        k = session.keys
        kept = (k.down, *k.all_plays, k.turns, k.meta) if linger_ms > 0 else ()
        try:
            stays: tuple[str, ...] = ()
            if linger_ms > 0:
                record = (k.heard, k.pcm, k.last_pcm, k.recorded)
                stays = k.recording if await self._redis.eval(_LEAVE_TO_RECORD, 4, *record, RECORD_WITHIN_MS) else ()
            gone = [key for key in k.all if key not in kept and key not in stays]
            await self._redis.eval(_END, len(gone) + len(kept), *gone, *kept, len(gone), linger_ms)
            await self._redis.zrem(keys.SESSIONS, session.sid)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def end_unspoken(self, session: Session, holder: str) -> bool:
        """End a session in which nothing was said; `holder`: the attachment that ends it. False: it is not over.

        Decided at once: it goes on when another connection has taken it up, or a bridge was told of it, a moment before.
        """
        k = session.keys
        every = (k.attach, k.marks, *(key for key in k.all if key not in (k.attach, k.marks)))
        try:
            ended = await self._redis.eval(_END_UNSPOKEN, len(every), *every, holder, keys.dispatch_field("bridge"))
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        if ended:
            await self.end(session, reason=UNSPOKEN, linger_ms=0)
        return bool(ended)

    async def end_abandoned(self) -> int:
        """End the sessions whose keys nobody has renewed for long: a while before they run out, so that they are kept."""
        try:
            listed: list[Any] = await self._redis.zrange(keys.SESSIONS, 0, now_ms() - ABANDONED_MS, byscore=True)
            abandoned: list[Session] = []
            for start in range(0, len(listed), REAP_PAGE):
                page = [text(sid) for sid in listed[start : start + REAP_PAGE]]
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for sid in page:
                        pipeline.hget(SessionKeys(sid).marks, "at")
                        pipeline.pttl(SessionKeys(sid).turns)
                        pipeline.exists(SessionKeys(sid).attach)
                    found = await pipeline.execute()
                for sid, at, ttl_ms, attached in zip(page, found[::3], found[1::3], found[2::3], strict=True):
                    if at is not None and not attached and 0 < ttl_ms < SESSION_TTL_MS - ABANDONED_MS:
                        abandoned.append(Session(sid, text(at)))
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        for session in abandoned:
            await self.end(session, reason=ABANDONED, linger_ms=0)
        return len(abandoned)

    async def run_out(self, session: Session, after_s: float) -> None:
        """Let a session that no bridge was told of, and nobody has, end by itself after so long, unless it is renewed.

        A bridge counts the time that a client is away; of this one nobody would. `turns` keeps its own time: by that
        `end_abandoned` sees who is.
        """
        k = session.keys
        every = (k.attach, k.marks, *(key for key in k.all if key not in (k.marks, k.attach, k.lease, k.turns)))
        arguments = (keys.dispatch_field("bridge"), round(after_s * 1000))
        try:
            await self._redis.eval(_RUN_OUT, len(every), *every, *arguments)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def reap(self) -> int:
        """Strike sessions off the list whose keys have run out: their holders died, and nobody ended them."""
        try:
            listed: list[Any] = await self._redis.zrange(keys.SESSIONS, 0, -1)
            gone = []
            for start in range(0, len(listed), REAP_PAGE):
                page = listed[start : start + REAP_PAGE]
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for sid in page:
                        pipeline.exists(SessionKeys(text(sid)).down)
                    found = await pipeline.execute()
                gone += [sid for sid, exists in zip(page, found, strict=True) if not exists]
            return int(await self._redis.zrem(keys.SESSIONS, *gone)) if gone else 0
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error

    async def _delete(self, session: Session) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.unlink(*session.keys.all)
            pipeline.zrem(keys.SESSIONS, session.sid)
            pipeline.zrem(keys.sessions_of(keys.named_by(session.at)[0]), session.sid)
            await pipeline.execute()
