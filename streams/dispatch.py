"""Sessions handed to workers, and the bridge's lease.

A pending entry of a dispatch stream is a hand-out, not a lease: a zombie can steal it back, and anybody can acknowledge
it. Which bridge may speak for a session is decided by its lease and, at the resource, by the epoch in every id it writes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from streams import keys
from streams.connection import text
from streams.down import EpochTaken
from streams.errors import LeaseLost, StreamUnavailable
from streams.hub import Hub
from streams.ids import EntryId
from streams.producer import open_left
from streams.sessions import Session, now_ms
from streams.shares import Worker, look_again_s, share
from streams.writer import Writer

logger = logging.getLogger(__name__)

BLOCK_MS = 5_000
"""How long one XREADGROUP waits for work."""

ORPHAN_MS: dict[keys.Role, int] = {"bridge": 4_000, "transcoder": 2_000}
"""A session that its worker has not kept for so long is anybody's. It is found at once, and begun within half a second: so a
transcoder's are heard of again within 3 s. What one does that was only slow is stored once."""

SUSPECT = 0.6
"""Of ORPHAN_MS: who was not kept for so long is watched. It is more than the second in which the healthy are kept, and
leaves time to look once more before they are orphans."""

LOOK_JITTER_S = 0.1
"""All workers know when a session will be an orphan: they do not all claim it in the same moment."""

ORPHANS_AT_ONCE = 1_000
"""That are looked at."""

KEEP_EVERY_S = 1.0
"""How often a worker keeps its sessions, and looks for orphans where nothing is the matter."""

ALIVE_MARGIN_MS = 1_500
"""A worker without work is heard of when it waits for some again, every BLOCK_MS, or so much later."""

LEASE_MS = 4_000
"""A bridge that does not renew for this long has lost the session."""
LEASE_RENEW_S = 1.3
"""Three tries in a lease's life."""
LEASE_TRY_S = 0.2
"""Between tries to take a lease that somebody may have left behind, or to renew one while Redis is away."""
LEASE_MARGIN_S = 0.5
"""The holder believes in its lease this much shorter than the server does: a paused process cannot be told."""

# -1: the lease is not ours. Else whether a client is attached.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('EXISTS', KEYS[2])
"""
# Only while the session is there: a mark brings nothing back.
_SET_MARK = """
local ttl = redis.call('PTTL', KEYS[2])
if ttl <= 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


async def hand_out(redis: Redis, session: Session, role: keys.Role) -> None:
    """Put a session on the dispatch stream of a role, unless it is there: waiting, or with a worker.

    Two gateways that do so at once may both put it there; then the second worker finds it taken, and lets go.
    Raises StreamUnavailable.
    """
    stream, field = keys.dispatch(role), keys.dispatch_field(role)
    try:
        known = await redis.hget(session.keys.marks, field)
        if known is not None and await redis.xrange(stream, min=text(known), max=text(known)):
            return
        entry_id = await redis.xadd(stream, {"sid": session.sid, "at": session.at})
        await redis.eval(_SET_MARK, 2, session.keys.marks, session.keys.down, field, text(cast(bytes, entry_id)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{stream}: {error}") from error


async def is_handed_out(redis: Redis, session: Session, role: keys.Role) -> bool:
    """Whether a worker of this role was ever told of the session. Raises StreamUnavailable."""
    try:
        return bool(await redis.hexists(session.keys.marks, keys.dispatch_field(role)))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.dispatch(role)}: {error}") from error


async def is_handed_out_as(redis: Redis, assignment: Assignment, role: keys.Role) -> bool:
    """Whether this entry, and no other, stands for its session. Raises StreamUnavailable."""
    try:
        known = await redis.hget(assignment.session.keys.marks, keys.dispatch_field(role))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{keys.dispatch(role)}: {error}") from error
    return known is None or EntryId.parse(known) == assignment.id


@dataclass(frozen=True, slots=True)
class Assignment:
    """A session that was handed to this worker."""

    id: EntryId
    session: Session


class Assignments:
    """A worker's end of a dispatch stream."""

    def __init__(self, hub: Hub, role: keys.Role, consumer: str) -> None:
        self._redis, self._redis_now = hub.waiting, hub.redis
        self._role, self._stream, self._consumer = role, keys.dispatch(role), consumer
        self._has_left_some = False
        """orphans, to other workers, when it looked last"""
        self.look_again_s = KEEP_EVERY_S
        """so long after it has looked for orphans there may be more"""
        self._kept_at = time.monotonic()

    async def open(self) -> None:
        """Make the stream and its group, if nobody has yet."""
        try:
            await self._redis_now.xgroup_create(self._stream, keys.DISPATCH_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise StreamUnavailable(f"{self._stream}: {error}") from error
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error

    async def take(self, count: int) -> list[Assignment]:
        """Wait a while for new sessions, and take at most `count` of them."""
        try:
            answer = await self._redis.xreadgroup(
                keys.DISPATCH_GROUP, self._consumer, {self._stream: ">"}, count=count, block=BLOCK_MS
            )
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise StreamUnavailable(f"{self._stream}: {error}") from error
            await self.open()  # the server was emptied
            return []
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error
        return await self._readable(_entries(answer))

    async def claim_orphans(self, count: int) -> list[Assignment]:
        """Take over at most `count` sessions whose worker has not kept them for ORPHAN_MS.

        What other workers should have is left to them, once: who looks again takes all that is still there. When to do
        that is in `look_again_s`.
        """
        redis, group = self._redis_now, keys.DISPATCH_GROUP
        idle = ORPHAN_MS[self._role]
        self.look_again_s = KEEP_EVERY_S
        try:
            watched: Any = await redis.xpending_range(
                self._stream, group, "-", "+", ORPHANS_AT_ONCE, idle=round(idle * SUSPECT)
            )
            orphans = [each for each in watched if each["time_since_delivered"] >= idle]
            suspects = [each["time_since_delivered"] for each in watched if each["time_since_delivered"] < idle]
            ours = len(orphans) if self._has_left_some or not orphans else await self._share(orphans)
            self._has_left_some = ours < len(orphans)
            # Who is let go is an orphan at once, and each worker sees it when it looks next, a second later at most.
            others_look_now = all(each["time_since_delivered"] < 2 * idle for each in orphans)
            self._look_again(suspects, is_soon=self._has_left_some and others_look_now)
            ids = [orphan["message_id"] for orphan in orphans]
            ids = random.sample(ids, min(count, ours, len(ids)))  # others who look at this moment take others
            found: Any = await redis.xclaim(self._stream, group, self._consumer, idle, ids) if ids else []
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise StreamUnavailable(f"{self._stream}: {error}") from error
            await self.open()
            return []
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error
        return await self._readable(found)

    def _look_again(self, suspects: Sequence[int], *, is_soon: bool) -> None:
        soonest_s = look_again_s(suspects, ORPHAN_MS[self._role], has_left_some=is_soon, at_latest_s=KEEP_EVERY_S)
        self.look_again_s = soonest_s + LOOK_JITTER_S * random.random()

    async def _share(self, orphans: Sequence[dict[str, Any]]) -> int:
        """How many of these are ours."""
        known: Any = await self._redis_now.xinfo_consumers(self._stream, keys.DISPATCH_GROUP)
        workers = [Worker(text(each["name"]), each["pending"], each["idle"]) for each in known]
        return share(self._consumer, workers, {text(orphan["consumer"]) for orphan in orphans}, BLOCK_MS + ALIVE_MARGIN_MS)

    async def _readable(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Assignment]:
        """The entries as assignments; what does not read as one is nobody's work, and removed."""
        readable = []
        for entry_id, fields in entries:
            sid, at = fields.get(b"sid"), fields.get(b"at")
            if sid is not None and at is not None:
                session = Session(sid.decode(errors="replace"), at.decode(errors="replace"))
                readable.append(Assignment(EntryId.parse(entry_id), session))
            else:
                logger.error("%s %s names no session, and is removed", self._stream, entry_id)
                await self.done(Assignment(EntryId.parse(entry_id), Session("", "")))
        return readable

    async def keep(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Keep these from looking orphaned. Gives those that are not ours any more.

        A claim takes an entry from whoever has it. So after a pause in which they may have looked orphaned (this process
        was stopped) the owners are asked first.
        """
        lost: list[Assignment] = []
        now = time.monotonic()
        late = now - self._kept_at > ORPHAN_MS[self._role] / 1000 - LEASE_MARGIN_S
        try:
            if late and assignments:
                mine = await self._mine()
                lost = [assignment for assignment in assignments if assignment.id not in mine]
            kept = [str(assignment.id) for assignment in assignments if assignment not in lost]
            if kept:
                await self._redis_now.xclaim(
                    self._stream, keys.DISPATCH_GROUP, self._consumer, 0, cast(Any, kept), justid=True
                )
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error
        self._kept_at = now
        return lost

    async def let_go(self, assignment: Assignment) -> None:
        """Leave a session to whoever looks for orphans next, without making them wait."""
        try:
            await self._redis_now.xclaim(
                self._stream,
                keys.DISPATCH_GROUP,
                self._consumer,
                0,
                [str(assignment.id)],
                idle=10 * ORPHAN_MS[self._role],
                justid=True,
            )
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error

    async def _mine(self) -> set[EntryId]:
        """The entries that are pending with this consumer."""
        pending: Any = await self._redis_now.xpending_range(
            self._stream, keys.DISPATCH_GROUP, "-", "+", 10_000, consumername=self._consumer
        )
        return {EntryId.parse(entry["message_id"]) for entry in pending}

    async def done(self, assignment: Assignment) -> None:
        """The session needs no worker of this role any more: nobody shall find it again."""
        try:
            async with self._redis_now.pipeline(transaction=False) as pipeline:
                pipeline.xack(self._stream, keys.DISPATCH_GROUP, str(assignment.id))
                pipeline.xdel(self._stream, str(assignment.id))
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._stream}: {error}") from error


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Of the one stream in an XREADGROUP answer, in RESP2's or RESP3's shape."""
    if not answer:
        return []
    value = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
    return cast(list[tuple[bytes, dict[bytes, bytes]]], value)


class Lease:
    """The right to be a session's bridge, for four seconds at a time."""

    def __init__(self, redis: Redis, session: Session, owner: str) -> None:
        self._redis, self._session, self._owner = redis, session, owner
        self._key, self._attach = session.keys.lease, session.keys.attach
        self.value = f"{owner}|{time.time_ns() // 1_000_000}"
        self._held_until = 0.0

    @property
    def held(self) -> bool:
        """Whether the holder may still have an effect outside Redis; by this process's own monotonic clock."""
        return time.monotonic() < self._held_until

    def check(self) -> None:
        """Before each such effect. Raises LeaseLost."""
        if not self.held:
            raise LeaseLost(self._key)

    async def acquire(self) -> bool:
        """Take it if nobody has it."""
        asked = time.monotonic()
        try:
            taken = await self._redis.set(self._key, self.value, nx=True, px=LEASE_MS)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._key}: {error}") from error
        if taken:
            self._held_until = asked + LEASE_MS / 1000 - LEASE_MARGIN_S
        return bool(taken)

    async def holder(self) -> str | None:
        """Who has it now: `owner|since_ms`."""
        value = await self._redis.get(self._key)
        return None if value is None else text(value)

    async def acquire_within(self, seconds: float) -> bool:
        """Take it as soon as nobody has it: a holder that died has it for a while yet."""
        until = time.monotonic() + seconds
        while True:
            try:
                if await self.acquire():
                    return True
            except StreamUnavailable:
                if time.monotonic() > until:
                    raise
            if time.monotonic() > until:
                return False
            await asyncio.sleep(LEASE_TRY_S)

    async def keep(self, renewed: Callable[[bool], None]) -> None:
        """Renew until it is lost; returns then. What the holder does next is to stop.

        `renewed` is called after each renewal with whether a client is attached.
        """
        pause_s = LEASE_RENEW_S
        while True:
            await asyncio.sleep(pause_s)
            asked, pause_s = time.monotonic(), LEASE_RENEW_S
            try:
                answer: Any = await self._redis.eval(_RENEW, 2, self._key, self._attach, self.value, LEASE_MS)
            except (RedisError, OSError) as error:
                logger.warning("%s could not be renewed: %s", self._key, error)
                # A failover takes two seconds. From the last renewal to the next but one are 2.6: the lease is over by then.
                answer, pause_s = None, LEASE_TRY_S
            if answer is not None and answer >= 0:
                self._held_until = asked + LEASE_MS / 1000 - LEASE_MARGIN_S
                renewed(answer == 1)
            elif answer is not None or not self.held:
                self._held_until = 0.0
                return

    async def take_epoch(self, writer: Writer) -> int:
        """Begin a reign: write `<epoch>-0` to `turns`, then to `down`, before anything is read or dialled.

        Whoever reigned before is fenced from then on. Raises Over, StreamUnavailable, or LeaseLost: who was stopped in
        the middle of it must not fence whoever has the session since.
        """
        message, lease = EpochTaken(owner=self._owner), (self._key, self.value)
        k = self._session.keys
        at_least = now_ms()
        while True:
            epoch = await open_left(writer, k.turns, message, at_least, lease=lease)
            opened = await open_left(writer, k.down, message, epoch, lease=lease)
            if opened == epoch:
                return epoch
            at_least = opened + 1  # somebody reigned in `down` beyond what `turns` knew: both must agree

    async def release(self) -> None:
        """Give it back, so that nobody waits for it to run out."""
        self._held_until = 0.0
        try:
            await self._redis.eval(_RELEASE, 1, self._key, self.value)
        except (RedisError, OSError) as error:
            logger.warning("%s runs out by itself: %s", self._key, error)
