"""How much one user, and one address, may have of us at once: connections, sessions; what a user may use in a day; and how
fast a session is spoken to.

Connections and sessions are counted in Redis, over all gateways. Each is a member of a sorted set with the time at which it
runs out; whoever has it renews it. So a gateway that dies leaves nothing for long, and no counter stays high.

While Redis does not answer nothing is counted and nobody is refused: a limit that cannot be looked at must not keep people
from a call, and without Redis there is no session to be had anyway. A member is counted again with its next renewal.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.addresses import counted_as
from gateway.allowance import Allowance
from gateway.caller import Caller
from gateway.errors import Crowded, TooMany, UsedUp
from gateway.settings import GatewaySettings
from streams import accounts, keys
from streams.errors import StreamUnavailable
from streams.keys import SessionKeys
from streams.memory import Memory
from streams.sessions import now_ms
from streams.usage import DAY_MS, NANO_USD, day_of

logger = logging.getLogger(__name__)

What = Literal["connections", "sessions", "records"]

HOLD_MS = {"connections": 45_000, "sessions": 90_000, "records": keys.RECORD_TTL_MS}
"""How long one counts that nobody renews. A session that waits for its client counts, as long as it usually waits."""

MAX_RECORDS = 1_000
"""Sessions that one user, or one address, may create by request in a day: each is kept so long, used or not."""

RENEW_S = 15.0

RETRY_AFTER_S = {"connections": 5, "sessions": 30, "records": 3_600}

MAX_ALLOWANCES = 10_000
"""Sessions whose speech one gateway remembers; those that have not spoken for two minutes need not be remembered."""

# ARGV: how many there may be (0: any number), how long they last in ms, the members. 1, or 0 when there is no room.
_HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local limit = tonumber(ARGV[1])
if limit > 0 and redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
for i = 3, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class _Count:
    """One set, and how many may be in it."""

    key: str
    limit: int


@dataclass(slots=True)
class Room:
    """For one session; taken before there is a session."""

    _limits: Limits
    _counts: tuple[_Count, ...]
    _member: str | None
    """None: there was no room, but none was needed"""
    sid: str | None = field(default=None, init=False)

    async def is_for(self, sid: str) -> None:
        """The session that has it: one that counts already, because it is resumed, counts once.

        To be run beside the connection's other tasks: nobody has to wait for it.
        """
        self.sid = sid
        await self._limits._hold("sessions", self._counts, sid, limited=False)
        await self._give_back()

    async def leave(self) -> None:
        """The connection is over. Its session counts on until it has ended, or has waited long enough for its client."""
        await self._give_back()
        if self.sid is not None:
            await self._limits._leave_session(self._counts, self.sid)

    async def _give_back(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            await self._limits._release("sessions", self._counts, member)


class Limits:
    """One gateway's part in the counting. `run` renews what it holds."""

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._memory, self._high_water = Memory(redis), settings.redis_high_water
        self._of_user: dict[What, int] = {
            "connections": settings.max_connections_per_user,
            "sessions": settings.max_sessions_per_user,
            "records": MAX_RECORDS,
        }
        self._of_address: dict[What, int] = {
            "connections": settings.max_connections_per_address,
            "sessions": settings.max_sessions_per_address,
            "records": MAX_RECORDS,
        }
        self._day_nano_usd = settings.max_user_day_usd * NANO_USD
        self._day_ms = settings.max_user_day_minutes * 60_000
        self._held: dict[What, dict[str, set[str]]] = {"connections": {}, "sessions": {}, "records": {}}
        """key → members"""
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()

    @asynccontextmanager
    async def connection(self, caller: Caller) -> AsyncIterator[None]:
        """One more, for as long as the context lasts. Raises TooMany."""
        counts, member = self._counts("connections", caller), secrets.token_hex(8)
        if not await self._hold("connections", counts, member, limited=True):
            raise self._too_many("connections", caller)
        try:
            yield
        finally:
            await self._release("connections", counts, member)

    @asynccontextmanager
    async def session(self, caller: Caller, resumes: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[Room]:
        """Room for one more, to be taken before a WebSocket's handshake is answered. Raises TooMany, UsedUp, Crowded.

        `resumes`: asked when there is no room; a connection that goes on with a session needs none. Call `Room.is_for` as
        soon as there is a session. It counts while the context lasts, and then until it has ended.
        """
        if await self._is_crowded() and not (resumes is not None and await resumes()):
            raise self._crowded(caller)
        if await self._has_used_up(caller) and not (resumes is not None and await resumes()):
            error = UsedUp(math.ceil((DAY_MS - now_ms() % DAY_MS) / 1000))
            error.door = caller.door or None
            raise error
        counts, member = self._counts("sessions", caller), secrets.token_hex(8)
        fits = await self._hold("sessions", counts, member, limited=True)
        if not fits and not (resumes is not None and await resumes()):
            raise self._too_many("sessions", caller)
        room = Room(self, counts, member if fits else None)
        try:
            yield room
        finally:
            await room.leave()

    async def create_record(self, caller: Caller) -> None:
        """One more session is created by request; it is kept for a day. Raises TooMany, Crowded."""
        if await self._is_crowded():
            raise self._crowded(caller)
        counts, member = self._counts("records", caller), secrets.token_hex(8)
        fits = await self._hold("records", counts, member, limited=True)
        self._forget("records", counts, member)
        if not fits:
            raise self._too_many("records", caller)

    def allowance(self, sid: str) -> Allowance:
        """How fast this session may be spoken to at this gateway, over all of its connections."""
        now = time.monotonic()
        if (found := self._allowances.get(sid)) is None:
            if len(self._allowances) >= MAX_ALLOWANCES:
                self._forget_allowances(now)
            found = self._allowances[sid] = Allowance(now)
        return found

    async def _is_crowded(self) -> bool:
        """Whether Redis has hardly room for the sessions that it has."""
        if not self._high_water:
            return False
        try:
            return await self._memory.fullness() >= self._high_water
        except StreamUnavailable as error:
            logger.warning("how full Redis is cannot be looked at: %s", error)
            return False

    async def _has_used_up(self, caller: Caller) -> bool:
        """Whether this user may use no more today. Who has not shown who they are is left to the bridge, which knows the
        session's user."""
        if caller.user is None or not (self._day_nano_usd or self._day_ms):
            return False
        try:
            spent = await accounts.total(self._redis, caller.user, day_of(now_ms()))
        except StreamUnavailable as error:
            logger.warning("what a user has used cannot be looked at: %s", error)
            return False
        return 0 < self._day_nano_usd <= spent.nano_usd or 0 < self._day_ms <= spent.ms

    async def run(self) -> None:
        """Renew what is held, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.renew()

    async def renew(self) -> None:
        """All that is held, in one round trip."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for what, held in self._held.items():
                    for key, members in held.items():
                        pipeline.eval(_HOLD, 1, key, 0, HOLD_MS[what], *members)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            logger.warning("what counts against the limits could not be renewed: %s", error)

    def _counts(self, what: What, caller: Caller) -> tuple[_Count, ...]:
        who = [("user", caller.user, self._of_user[what]), ("address", counted_as(caller.address), self._of_address[what])]
        return tuple(_Count(keys.limit(what, sort, name), limit) for sort, name, limit in who if name is not None and limit)

    async def _hold(self, what: What, counts: tuple[_Count, ...], member: str, *, limited: bool) -> bool:
        """Whether there was room in all of them; if not it is in none."""
        if not counts:
            return True
        for count in counts:
            self._held[what].setdefault(count.key, set()).add(member)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for count in counts:
                    pipeline.eval(_HOLD, 1, count.key, count.limit if limited else 0, HOLD_MS[what], member)
                fits = await pipeline.execute()
        except (RedisError, OSError) as error:
            logger.warning("%s are not counted at the moment: %s", what, error)
            return True
        except asyncio.CancelledError:
            self._forget(what, counts, member)
            raise
        if all(fits):
            return True
        await self._release(what, counts, member)
        return False

    async def _release(self, what: What, counts: tuple[_Count, ...], member: str) -> None:
        self._forget(what, counts, member)
        if not counts:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for count in counts:
                    pipeline.zrem(count.key, member)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            logger.warning("what was counted against the limits runs out by itself: %s", error)

    async def _leave_session(self, counts: tuple[_Count, ...], sid: str) -> None:
        self._forget("sessions", counts, sid)
        if not counts:
            return
        try:
            if await self._redis.exists(SessionKeys(sid).marks):
                return
        except (RedisError, OSError):
            return
        await self._release("sessions", counts, sid)

    def _forget(self, what: What, counts: tuple[_Count, ...], member: str) -> None:
        """Renew it no more."""
        held = self._held[what]
        for count in counts:
            if members := held.get(count.key):
                members.discard(member)
                if not members:
                    del held[count.key]

    @staticmethod
    def _crowded(caller: Caller) -> Crowded:
        error = Crowded()
        error.door = caller.door or None
        return error

    def _too_many(self, what: What, caller: Caller) -> TooMany:
        limits = {limit for limit in (self._of_user[what] if caller.user else 0, self._of_address[what]) if limit}
        error = TooMany(what, min(limits, default=0), RETRY_AFTER_S[what])
        error.door = caller.door or None
        return error

    def _forget_allowances(self, now: float) -> None:
        for sid in [sid for sid, allowance in self._allowances.items() if allowance.is_full(now)]:
            del self._allowances[sid]
        while len(self._allowances) >= MAX_ALLOWANCES:
            self._allowances.popitem(last=False)
