"""A user's day: each session writes its whole part, and nothing it writes again counts again."""

from __future__ import annotations

from random import Random

from redis.asyncio import Redis

from streams import accounts, keys
from streams.sessions import Session, Sessions
from streams.turns import Opened
from streams.usage import Spent, Usage

DAY = "2026-11-26"


def session(name: str) -> Session:
    return Session(name, "")


async def test_sessions_add_up(redis: Redis) -> None:
    first = Spent(nano_usd=5, ms=1000, tokens=7, responses=1)
    assert await accounts.keep(redis, "ann", session("a"), DAY, first) == first
    both = await accounts.keep(redis, "ann", session("b"), DAY, Spent(nano_usd=10**15 + 1, transcriptions=2, unpriced=1))
    assert both == Spent(10**15 + 6, 1000, 7, 1, 2, 1)
    assert await accounts.total(redis, "ann", DAY) == both
    assert await accounts.total(redis, "ann", "2026-11-27") == await accounts.total(redis, "bob", DAY) == Spent()


async def test_any_order_and_any_repetition_of_writes_make_the_same_total(redis: Redis) -> None:
    """Resends, late writes, a bridge that was fenced: each session's part is the most that was written of it."""
    random = Random(1)
    writes = [(sid, Spent(nano_usd=step * 10, tokens=step)) for sid in "abc" for step in range(1, 8)] * 2
    random.shuffle(writes)
    for sid, spent in writes:
        await accounts.keep(redis, "ann", session(sid), DAY, spent)
    assert await accounts.total(redis, "ann", DAY) == Spent(nano_usd=3 * 70, tokens=3 * 7)


async def test_a_day_is_kept_for_a_month_and_a_while(redis: Redis) -> None:
    await accounts.keep(redis, "ann:smith", session("a"), DAY, Spent(ms=1))
    left = await redis.pttl(keys.usage("ann:smith", DAY))
    assert 0.99 * keys.USAGE_TTL_MS < left <= keys.USAGE_TTL_MS


async def test_people_see_it_and_nothing_is_brought_back(redis: Redis) -> None:
    """In the session's `meta`, as long as that is there."""
    there = (await Sessions(redis).create(Opened(user="ann", door="mobile"), "ann")).session
    usage = Usage(responses=2, text_in=3, audio_out=4, nano_usd=1_234_567_891, unpriced=1)
    await accounts.show(redis, there, usage, 61_999)
    shown = await redis.hgetall(there.keys.meta)
    assert (shown[b"usd"], shown[b"tokens"], shown[b"seconds"], shown[b"user"]) == (b"1.234567891", b"7", b"61", b"ann")
    await Sessions(redis).end(there, linger_ms=0)
    await accounts.show(redis, there, usage, 62_000)
    assert not await redis.exists(there.keys.meta)
