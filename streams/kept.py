"""What is kept of a session when it has ended: its document, for a while, and the word to the app's backend that it has.

`Sessions.end` keeps it, whoever ends the session, before the streams go. Once: a bridge that ends what another one has
ended keeps nothing. Of a session that is forgotten nothing is kept, and nothing is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams import keys, transcript, turns
from streams.connection import text
from streams.consumer import read
from streams.errors import StreamUnavailable
from streams.keys import SESSION_TTL_MS, SessionKeys
from streams.transcript import Document, Ended

FORGOTTEN = "forgotten"
"""The reason with which a session ends of which nothing is to be kept."""

UNSPOKEN = "unspoken"
"""The reason with which a session ends in which nothing was said: there is nothing to keep, and whoever only connects, again
and again, fills neither Redis nor anybody's day."""

FORGOTTEN_TTL_MS = 15 * 60_000
"""As long as a worker that has not heard of it may try to keep something."""

ENDED = "session.ended"
"""The type of what the app's backend is told."""

_UNTOLD_MS = 5_000
"""From the promise to tell it to the words themselves: whoever died in between has kept nothing."""

# KEYS: kept, webhook, forgotten. ARGV: document, how long it is kept (ms; 0: not), id, body ('': nobody is told), its TTL.
_KEEP = """
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) > 0 then return 0 end
if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'id', ARGV[3], 'body', ARGV[4], 'tries', 0)
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 1
"""

# A session of a user's, until so long; the list runs out with the last of them. ARGV: sid, until, now (ms).
_LIST = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('PEXPIREAT', KEYS[1], redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
"""


def list_session(pipeline: Any, user: str, sid: str, *, for_ms: int = SESSION_TTL_MS) -> None:
    """Let the user's list name this session for so long."""
    pipeline.eval(*listing(user, sid, for_ms=for_ms))


def listing(user: str, sid: str, *, for_ms: int = SESSION_TTL_MS) -> tuple[str, int, str, str, int, int]:
    """The same, as what EVAL takes."""
    now = time.time_ns() // 1_000_000
    return _LIST, 1, keys.sessions_of(user), sid, now + for_ms, now


def webhook_id(sid: str) -> str:
    """The same each time that it is told. It has no full stop: that stands between it and the time, where it is signed."""
    return f"{sid}_ended"


class Kept:
    """Keeps, gives and forgets. Every call raises StreamUnavailable when the server does not answer."""

    def __init__(self, redis: Redis, *, keep_s: float = 0, webhook: bool = False) -> None:
        """`webhook`: the app's backend is to be told, by whichever bridge comes to it."""
        self._redis, self._keep_ms, self._webhook = redis, round(keep_s * 1000), webhook

    async def keep(self, sid: str, at: str, reason: str) -> None:
        """The session is about to go; `at`: its index key. Its streams must still be there."""
        now, wanted = time.time_ns() // 1_000_000, reason not in (FORGOTTEN, UNSPOKEN) and (self._keep_ms or self._webhook)
        document = await self.of_live(sid, at, Ended(now, reason)) if wanted else None
        if document is None:
            await self.strike(sid, at)
            return
        k, kept, body = SessionKeys(sid), transcript.encode(document), b""
        if self._webhook:
            told_at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            body = msgspec.json.encode({"type": ENDED, "timestamp": told_at, "data": msgspec.Raw(kept)})
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                if self._keep_ms:
                    list_session(pipeline, document.user, sid, for_ms=self._keep_ms)
                else:
                    pipeline.zrem(keys.sessions_of(document.user), sid)
                if self._webhook:
                    pipeline.zadd(keys.WEBHOOKS, {sid: now + _UNTOLD_MS}, nx=True)
                await pipeline.execute()
            script: Any = (kept, self._keep_ms, webhook_id(sid), body, keys.WEBHOOK_TTL_MS)
            if await self._redis.eval(_KEEP, 3, k.kept, k.webhook, k.forgotten, *script) and self._webhook:
                await self._redis.zadd(keys.WEBHOOKS, {sid: now})
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{k.kept}: {error}") from error

    async def strike(self, sid: str, at: str) -> None:
        """Off its user's list, unless something is kept of it."""
        user, _ = keys.named_by(at)
        try:
            if not await self._redis.exists(SessionKeys(sid).kept):
                await self._redis.zrem(keys.sessions_of(user), sid)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.sessions_of(user)}: {error}") from error

    async def of_live(self, sid: str, at: str, ended: Ended | None = None) -> Document | None:
        """What was said so far; None when the session is gone."""
        k, (_, conversation) = SessionKeys(sid), keys.named_by(at)
        try:
            created = await self._redis.hget(k.meta, "created_ms")
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{k.meta}: {error}") from error
        log = await read(self._redis, k.turns, turns.decoder)
        opened_ms = int(created or 0)
        return transcript.transcript(sid, conversation, (e.message for e in log), opened_ms=opened_ms, ended=ended)

    async def of_ended(self, sid: str) -> bytes | None:
        """The document of a session that has ended, as JSON; None when there is none, or none any more."""
        try:
            kept: Any = await self._redis.get(SessionKeys(sid).kept)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{SessionKeys(sid).kept}: {error}") from error
        return None if kept is None else bytes(kept)

    async def of_user(self, user: str) -> list[str]:
        """The sids of the user's sessions, live ones and kept ones, the one that lasts longest first."""
        try:
            listed: list[Any] = await self._redis.zrange(keys.sessions_of(user), 0, -1, desc=True)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{keys.sessions_of(user)}: {error}") from error
        return [text(sid) for sid in listed]

    async def forbid(self, sid: str) -> None:
        """Keep nothing of this session from now on, whoever ends it."""
        try:
            await self._redis.set(SessionKeys(sid).forgotten, 1, px=FORGOTTEN_TTL_MS)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{SessionKeys(sid).forgotten}: {error}") from error

    async def forget(self, sid: str, user: str | None) -> None:
        """Delete all that is left of a session that has ended, also what is still to be told. `user`: whose it was."""
        k = SessionKeys(sid)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zrem(keys.WEBHOOKS, sid)
                pipeline.zrem(keys.SESSIONS, sid)
                if user is not None:
                    pipeline.zrem(keys.sessions_of(user), sid)
                pipeline.unlink(k.kept, k.webhook, *k.all)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{k.kept}: {error}") from error

    async def forget_user(self, user: str, others: Sequence[str] = ()) -> None:
        """Delete the user's list, when its sessions are forgotten, and `others`: keys that name the user, too."""
        gone = (keys.sessions_of(user), *others)
        try:
            await asyncio.gather(*(self._redis.unlink(key) for key in gone))
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{gone[0]}: {error}") from error
