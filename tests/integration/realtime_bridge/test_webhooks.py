"""The app's backend is told of a session's end, whatever becomes of it and of us meanwhile."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from realtime_bridge import webhooks
from realtime_bridge.redelivery import MAX_TRIES
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.signing import signing_keys
from realtime_bridge.webhooks import Webhooks
from streams import keys, turns
from streams.deliveries import Deliveries
from streams.hub import Hub
from streams.kept import Kept
from streams.keys import SessionKeys
from streams.sessions import Sessions
from tests.contract.doors.api_stage import SECRET, AppBackend, app_backend, is_signed

LIMIT_S = 10.0
QUICK = 0.02
"""Waits of seconds become tens of milliseconds."""


@pytest.fixture
async def backend() -> AsyncIterator[AppBackend]:
    async with app_backend() as backend:
        yield backend


async def ended(redis: Redis, user: str = "ann") -> str:
    """A session that was, and of whose end the backend is to be told."""
    sessions = Sessions(redis, Kept(redis, keep_s=60, webhook=True))
    session = (await sessions.create(turns.Opened(user=user, door="mobile"), user)).session
    await sessions.end(session, reason="client_left")
    return session.sid


@asynccontextmanager
async def telling(
    redis: Redis, url: str, secret: str = SECRET, patience: float = QUICK, answer_within_s: float = LIMIT_S
) -> AsyncIterator[None]:
    """One bridge's part in it. For an answer it has all the patience that a busy machine wants, but where none comes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(webhooks, "ANSWER_WITHIN_S", answer_within_s / patience)
        async with aiohttp.ClientSession() as http:
            teller = Webhooks(Deliveries(redis), http, url, signing_keys(secret), patience=patience)
            task = asyncio.create_task(teller.run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])


async def all_is_told(redis: Redis) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await redis.exists(keys.WEBHOOKS):  # noqa: ASYNC110 - whoever tells it is another process
            await asyncio.sleep(0.005)


async def test_it_is_told_once(hub: Hub, backend: AppBackend) -> None:
    sid = await ended(hub.redis)
    async with telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
        (told,) = backend.told
        assert told.event["data"] == {
            **told.event["data"],
            "id": sid,
            "user": "ann",
            "status": "ended",
            "reason": "client_left",
        }
        assert not await hub.redis.exists(SessionKeys(sid).webhook)
        other = await ended(hub.redis)
        await all_is_told(hub.redis)
    assert [each.event["data"]["id"] for each in backend.told] == [sid, other]


@pytest.mark.parametrize("answers", [[500, 503, 404], [None, None], [302, 429]], ids=["errors", "silence", "elsewhere"])
async def test_what_was_not_taken_comes_again_under_the_same_id(
    hub: Hub, backend: AppBackend, answers: list[int | None]
) -> None:
    """A receiver tells a repetition by its id; each one is signed for its own time. Nobody is redirected."""
    backend.answers = list(answers)
    await ended(hub.redis)
    async with telling(hub.redis, backend.url, answer_within_s=0.5 if None in answers else LIMIT_S):
        await all_is_told(hub.redis)
    assert len(backend.told) == len(answers) + 1
    assert len({told.id for told in backend.told}) == 1
    assert len({told.body for told in backend.told}) == 1
    assert all(is_signed(told.headers, told.body) for told in backend.told)


async def test_a_backend_that_is_away_is_told_when_it_is_back(hub: Hub) -> None:
    async with app_backend() as gone:
        url = gone.url
    sid = await ended(hub.redis)
    async with telling(hub.redis, url):
        async with asyncio.timeout(LIMIT_S):
            while int(await hub.redis.hget(SessionKeys(sid).webhook, "tries") or 0) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    await hub.redis.zadd(keys.WEBHOOKS, {sid: 0})
    async with app_backend() as back, telling(hub.redis, back.url):
        (told,) = await back.hears(1)
        assert told.event["data"]["id"] == sid
        await all_is_told(hub.redis)


async def test_a_backend_that_hangs_holds_up_neither_others_nor_itself(hub: Hub, backend: AppBackend) -> None:
    """One that does not answer the first is told of the second meanwhile."""
    backend.answers = [None]
    first = await ended(hub.redis)
    async with telling(hub.redis, backend.url, patience=0.1):
        await backend.hears(1)
        second = await ended(hub.redis)
        assert [told.event["data"]["id"] for told in (await backend.hears(2))[:2]] == [first, second]


async def test_what_a_bridge_has_died_with_is_told_by_another(hub: Hub, backend: AppBackend) -> None:
    """Under the same id, when the time is up for which it had taken it; not before."""
    sid = await ended(hub.redis)
    taken = await Deliveries(hub.redis).take(60_000)
    assert taken is not None
    assert await Deliveries(hub.redis).take(60_000) is None
    await hub.redis.zincrby(keys.WEBHOOKS, -60_000, sid)  # so much later
    async with telling(hub.redis, backend.url):
        (told,) = await backend.hears(1)
        assert (told.id, told.event["data"]["id"]) == (taken.id, sid)
        await all_is_told(hub.redis)


async def test_of_several_bridges_one_tells_it(hub: Hub, backend: AppBackend) -> None:
    sids = {await ended(hub.redis, f"u{n}") for n in range(20)}
    async with telling(hub.redis, backend.url), telling(hub.redis, backend.url), telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
    assert sorted(told.event["data"]["id"] for told in backend.told) == sorted(sids)


async def test_a_session_that_two_bridges_end_is_told_once(hub: Hub, backend: AppBackend) -> None:
    """The second one finds it kept."""
    sessions = Sessions(hub.redis, Kept(hub.redis, keep_s=60, webhook=True))
    session = (await sessions.create(turns.Opened(user="ann", door="mobile"), "ann")).session
    await sessions.kept.keep(session.sid, session.at, "client_left")
    await sessions.end(session, reason="internal_error")
    async with telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
    (told,) = backend.told
    assert told.event["data"]["reason"] == "client_left"


async def test_it_is_given_up_at_last(hub: Hub, backend: AppBackend) -> None:
    backend.answers = [500] * (MAX_TRIES + 1)
    sid = await ended(hub.redis)
    await hub.redis.hset(SessionKeys(sid).webhook, "tries", MAX_TRIES - 1)
    async with telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
    assert len(backend.told) == 1
    assert await hub.redis.exists(SessionKeys(sid).kept)
    assert not await hub.redis.exists(SessionKeys(sid).webhook)


async def test_a_backend_that_wants_to_hear_no_more_is_told_no_more(hub: Hub, backend: AppBackend) -> None:
    backend.answers = [410]
    await ended(hub.redis)
    async with telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
    assert len(backend.told) == 1


async def test_a_promise_that_nobody_lived_to_keep_is_dropped(hub: Hub, backend: AppBackend) -> None:
    """A bridge that died between the two has not ended the session either: another one will, and keep it then."""
    await hub.redis.zadd(keys.WEBHOOKS, {"s1": 0})
    async with telling(hub.redis, backend.url):
        await all_is_told(hub.redis)
    assert backend.told == []
    assert await hub.redis.keys("*") == []


async def test_each_secret_signs_while_they_are_rotated(hub: Hub, backend: AppBackend) -> None:
    """A backend that knows the old one or the new one accepts."""
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    await ended(hub.redis)
    async with telling(hub.redis, backend.url, f"{new} {SECRET}"):
        (told,) = await backend.hears(1)
    assert is_signed(told.headers, told.body, SECRET)
    assert is_signed(told.headers, told.body, new)
    assert not is_signed(told.headers, told.body + b" ", SECRET)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"PARLEY_WEBHOOK_URL": "https://app.example.com/h"}, "PARLEY_WEBHOOK_SECRET"),
        ({"PARLEY_WEBHOOK_URL": "app.example.com", "PARLEY_WEBHOOK_SECRET": SECRET}, "https://app.example.com/webhooks"),
        ({"PARLEY_WEBHOOK_URL": "https://a.b/h", "PARLEY_WEBHOOK_SECRET": "secret"}, "openssl rand -base64 32"),
    ],
)
def test_what_could_not_be_told_is_refused_at_the_start(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        BridgeSettings(OPENAI_API_KEY="k", **given)
    assert SECRET not in str(refused.value)
