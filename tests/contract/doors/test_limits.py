"""How much one user, and one address, may have at once, and what is told to who wants more."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway import allowance, limits
from gateway.caller import Caller
from gateway.errors import TooMany, UsedUp
from gateway.limits import HOLD_MS, Limits
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from streams import accounts, keys
from streams.connection import connect
from streams.sessions import Session, now_ms
from streams.usage import NANO_USD, Spent, day_of
from tests.contract.doors.openai_stage import Talker
from tests.contract.doors.stage import Stage
from tests.contract.doors.test_auth import NEW, WAYS, Way, gateway, named, token

LIMIT_S = 20.0

sockets = pytest.mark.parametrize("way", [way for way in WAYS if way.is_socket], ids=named)


@asynccontextmanager
async def connected(
    stage: Stage, path: str, user: str | None = None, address: str | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection of this user's, from there."""
    headers = {"Authorization": f"Bearer {token(user)}"} if user is not None else {}
    headers |= {"X-Forwarded-For": address} if address is not None else {}
    async with stage.http.ws_connect(stage.url + path, headers=headers) as ws:
        yield ws


async def refused(
    stage: Stage,
    path: str,
    user: str | None = None,
    address: str | None = None,
    because: str = "are allowed at once",
) -> None:
    """Before the handshake, with a sentence, and when to come back."""
    headers = {"Authorization": f"Bearer {token(user)}"} if user is not None else {}
    headers |= {"X-Forwarded-For": address} if address is not None else {}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= upgrade | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    async with stage.http.get(stage.url + path, headers=headers) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) > 0
        body = await response.json()
        assert list(body) == ["error"]
        assert because in body["error"]


async def count(redis: Redis, key: str, expected: int) -> None:
    """Wait until so many are in it."""
    async with asyncio.timeout(LIMIT_S):
        while await redis.zcard(key) != expected:  # noqa: ASYNC110 - another task's work: no event
            await asyncio.sleep(0.005)


@sockets
async def test_a_user_who_has_used_up_the_day(redis_server: EmbeddedServer, redis: Redis, way: Way) -> None:
    """Is told so before the handshake, and when tomorrow is."""
    await accounts.keep(redis, "ann", Session("sid", ""), day_of(now_ms()), Spent(nano_usd=NANO_USD))
    async with gateway(redis_server, redis, JWT_SECRET=NEW, PARLEY_MAX_USER_DAY_USD="1") as stage:
        if way.door in ("mobile", "openai"):  # at the others a conversation begins later
            await refused(stage, way.path, "ann", because="used all that you may today")
        async with connected(stage, way.path.replace("ann", "bob"), "bob"):
            pass


@sockets
async def test_connections_of_a_user(redis_server: EmbeddedServer, redis: Redis, way: Way) -> None:
    """Over all gateways; somebody else is not concerned; who leaves makes room."""
    settings = {"JWT_SECRET": NEW, "PARLEY_MAX_CONNECTIONS_PER_USER": "2"}
    async with gateway(redis_server, redis, **settings) as one, gateway(redis_server, redis, **settings) as other:
        async with connected(one, way.path, "ann"):
            async with connected(other, way.path.replace("ann", "zoe"), "ann"):
                await refused(one, way.path, "ann")
                await refused(other, way.path, "ann")
                async with connected(one, way.path, "bob"):
                    pass
            await count(redis, keys.limit("connections", "user", "ann"), 1)
            async with connected(other, way.path, "ann"):
                assert 0 < await redis.pttl(keys.limit("connections", "user", "ann")) <= HOLD_MS["connections"]
        await count(redis, keys.limit("connections", "user", "ann"), 0)
        assert await one.metric(f'parley_gateway_errors_total{{code="too_many",door="{way.door}"}}') == 1


@sockets
async def test_connections_of_an_address(redis_server: EmbeddedServer, redis: Redis, way: Way) -> None:
    """As a trusted proxy tells it; of IPv6 a subscriber's. This machine's own are not counted."""
    settings = {"PARLEY_TRUSTED_PROXIES": "127.0.0.1", "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "1"}
    async with gateway(redis_server, redis, **settings) as stage, AsyncExitStack() as stack:
        for address in ("203.0.113.9", "203.0.113.10", "2001:db8::1", "127.0.0.1", "127.0.0.1", None, None):
            await stack.enter_async_context(connected(stage, way.path, address=address))
        for address in ("203.0.113.9", "6.6.6.6, 203.0.113.9", "2001:db8::2"):
            await refused(stage, way.path, address=address)


async def test_an_address_that_nobody_vouches_for_does_not_count(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Or anybody could lock anybody out."""
    async with (
        gateway(redis_server, redis, PARLEY_MAX_CONNECTIONS_PER_ADDRESS="1") as stage,
        connected(stage, "/v1/realtime", address="203.0.113.9"),
    ):
        assert await redis.keys("parley:limit:*") == []


async def test_sessions_of_a_user(redis_server: EmbeddedServer, redis: Redis) -> None:
    """One that is gone on with is no new one, at no door; one that has ended is none."""
    key = keys.limit("sessions", "user", "ann")
    async with gateway(redis_server, redis, JWT_SECRET=NEW, PARLEY_MAX_SESSIONS_PER_USER="2") as stage:
        async with connected(stage, "/ws-mobile/home", "ann") as ws:
            await ws.send_str('{"type":"audio","audio":"AAAA"}')
            home = await stage.session("ann", "home")
            await stage.up(home, 2)
            async with connected(stage, "/v1/realtime?parley=1", "ann") as first:
                call = (await Talker(first).hear())["session"]["id"]
                await refused(stage, "/ws-mobile/away", "ann")
                await refused(stage, "/v1/realtime", "ann")
                async with connected(stage, "/v1/realtime", "bob"):
                    pass
                Talker(first).cut()
            await stage.gone(keys.SessionKeys(call.removeprefix("sess_")).attach)
            await refused(stage, "/ws-mobile/away", "ann")  # it waits for its client
            async with connected(stage, f"/v1/realtime?parley=1&session={call}", "ann") as again:
                assert (await Talker(again).hear())["type"] == "parley.resumed"
                await again.close()
        await stage.gone(home.keys.attach)
        async with connected(stage, "/ws-mobile/home", "ann") as ws:
            await ws.send_str('{"type":"ping"}')
            assert (await ws.receive(LIMIT_S)).data == '{"type":"pong"}'
            assert (await stage.session("ann", "home")).sid == home.sid
        assert 0 < await redis.pttl(key) <= HOLD_MS["sessions"]


async def test_a_session_that_has_ended_makes_room(redis_server: EmbeddedServer, redis: Redis) -> None:
    """At once: nothing was said in it, so it ended with its connection."""
    async with gateway(redis_server, redis, JWT_SECRET=NEW, PARLEY_MAX_SESSIONS_PER_USER="1") as stage:
        for _ in range(3):
            async with connected(stage, "/ws-mobile/home", "ann"):
                pass
            await count(redis, keys.limit("sessions", "user", "ann"), 0)


async def scores(redis: Redis, key: str) -> list[tuple[str, float]]:
    """Who is in it, and until when."""
    found: Any = await redis.zrange(key, 0, -1, withscores=True)
    return [(member.decode(), score) for member, score in found]


def some_limits(redis: Redis, **settings: int | str) -> Limits:
    return Limits(redis, GatewaySettings(**settings))  # type: ignore[arg-type]


ANN = Caller("ann", "203.0.113.9", door="mobile")


async def test_no_limit_counts_nobody(redis: Redis) -> None:
    none = some_limits(
        redis,
        PARLEY_MAX_CONNECTIONS_PER_USER=0,
        PARLEY_MAX_CONNECTIONS_PER_ADDRESS=0,
        PARLEY_MAX_SESSIONS_PER_USER=0,
        PARLEY_MAX_SESSIONS_PER_ADDRESS=0,
    )
    async with none.connection(ANN), none.connection(ANN), none.session(ANN), none.session(ANN):
        assert await redis.keys("*") == []


async def test_who_is_refused_is_counted_nowhere(redis: Redis) -> None:
    """Also not where there was room."""
    one = some_limits(redis, PARLEY_MAX_CONNECTIONS_PER_ADDRESS=1)
    async with one.connection(ANN):
        with pytest.raises(TooMany) as raised:
            async with one.connection(ANN):
                pass
        assert raised.value.door == "mobile"
        assert await redis.zcard(keys.limit("connections", "user", "ann")) == 1
    assert await redis.keys("*") == []


async def test_who_has_used_up_the_day_is_refused(redis: Redis) -> None:
    """By dollars or by minutes; not who goes on with a session (its bridge ends it), nor who has not shown who they are."""

    async def resumes() -> bool:
        return True

    await accounts.keep(redis, "ann", Session("sid", ""), day_of(now_ms()), Spent(nano_usd=2 * NANO_USD, ms=60_000))
    for setting, enough, not_enough in (("USD", "2", "2.01"), ("MINUTES", "1", "1.1")):
        full = some_limits(redis, **{f"PARLEY_MAX_USER_DAY_{setting}": enough})
        with pytest.raises(UsedUp) as raised:
            async with full.session(ANN):
                pass
        assert raised.value.door == "mobile"
        assert 0 < int(raised.value.headers["Retry-After"]) <= 86_400
        wide = some_limits(redis, **{f"PARLEY_MAX_USER_DAY_{setting}": not_enough})
        bob, nobody = Caller("bob", "203.0.113.9", door="mobile"), Caller(None, "203.0.113.9", door="mobile")
        async with full.session(ANN, resumes), full.session(bob), full.session(nobody), wide.session(ANN):
            pass


async def test_a_gateway_that_dies_leaves_nothing_for_long(redis: Redis) -> None:
    """What nobody renews runs out; what somebody holds does not, and comes back if Redis has lost it."""
    key = keys.limit("connections", "user", "ann")
    alive = some_limits(redis, PARLEY_MAX_CONNECTIONS_PER_USER=2)
    await redis.zadd(key, {"of a dead gateway": 1.0, "of another": 2.0})
    async with alive.connection(ANN):
        ((member, before),) = await scores(redis, key)
        await redis.zadd(key, {member: before - 30_000})
        await alive.renew()
        assert await scores(redis, key) >= [(member, before)]
        await redis.flushall()
        await alive.renew()
        assert await redis.zcard(key) == 1
    assert await redis.keys("*") == []
    await alive.renew()
    assert await redis.keys("*") == []


async def test_it_renews_by_itself(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RENEW_S", 0.01)
    one = some_limits(redis)
    running = asyncio.create_task(one.run())
    async with one.connection(ANN):
        await redis.flushall()
        await count(redis, keys.limit("connections", "user", "ann"), 1)
    running.cancel()
    await asyncio.wait([running])


async def test_without_redis_nobody_is_refused() -> None:
    """It is said in the log, and made good later."""
    with EmbeddedServer() as server:
        redis = connect(server.url)
        one = some_limits(redis, PARLEY_MAX_CONNECTIONS_PER_USER=1, PARLEY_MAX_SESSIONS_PER_USER=1)
        server.kill()
        async with one.connection(ANN), one.connection(ANN), one.session(ANN) as room:
            await room.is_for("5f")
        await redis.aclose()


def test_a_gateway_remembers_so_many_who_speak(redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have been silent long enough to be new ones are forgotten first."""
    monkeypatch.setattr(limits, "MAX_ALLOWANCES", 2)
    one = Limits(connect(redis_server.url), GatewaySettings())
    ann, bob = one.allowance("ann"), one.allowance("bob")
    ann.take(50.0, 0.0)
    assert one.allowance("ann") is ann
    cay = one.allowance("cay")
    assert one.allowance("ann") is ann
    assert one.allowance("bob") is not bob
    assert one.allowance("cay") is not None
    assert cay is not ann


# ---- faster than real time ------------------------------------------------------------------------------------------

SECOND = bytes(48_000)


@pytest.fixture
def two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be sent at once."""
    monkeypatch.setattr(allowance, "CAPACITY_S", 2.0)


@pytest.fixture
def two_seconds_for_good(two_seconds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more with time, of which a slow machine takes much."""
    monkeypatch.setattr(allowance.Allowance, "_level", lambda self, now: self._level_s)


async def test_pcm_on_the_mobile_door(stage: Stage, two_seconds_for_good: None) -> None:
    async with stage.client("/ws-mobile/ann?input_format=pcm16") as client:
        for _ in range(2):
            await client.say_audio(SECOND)
        await client.say_audio(SECOND * 2)
        heard = await client.hear()
        assert heard["type"] == "error"
        assert heard["error"].startswith("This is faster than real time: 2 s of speech are taken at once. Send this again")
        await client.say_audio(SECOND * 3)
        assert (await client.hear())["error"].endswith("Send less at once.")
        await client.hear_nothing_more()
        session = await stage.session()
        assert len(await stage.pcm(session, 5)) == 5  # its birth, and the two that were taken
        # another connection of the same session has no more in hand
        await client.leave()
        await client.ws.close()
        async with stage.client("/ws-mobile/ann?input_format=pcm16") as again:
            await again.say_audio(SECOND * 2)
            assert (await again.hear())["type"] == "error"


async def heard_error(talker: Talker) -> Any:
    return (await talker.until("error"))[-1]["error"]


async def test_appends_on_the_openai_door(stage: Stage, two_seconds_for_good: None) -> None:
    """The event is named, and the connection goes on."""
    async with stage.http.ws_connect(f"{stage.url}/v1/realtime") as ws:
        talker = Talker(ws)
        await talker.hear()
        await talker.append(SECOND * 2, event_id="a")
        await talker.append(SECOND, event_id="b")
        error = await heard_error(talker)
        assert (error["code"], error["event_id"]) == ("too_fast", "b")
        await talker.say("nonsense")
        assert (await heard_error(talker))["code"] != "too_fast"


async def test_numbered_appends_on_the_openai_door(stage: Stage, two_seconds_for_good: None) -> None:
    """Its number is used up; one that is sent again after a break costs nothing."""
    async with stage.http.ws_connect(f"{stage.url}/v1/realtime?parley=1") as ws:
        talker = Talker(ws)
        await talker.hear()
        for useq in (1, 1, 1):
            await talker.append(SECOND * 2, useq=useq)
        await talker.append(SECOND, useq=2, event_id="b")
        await talker.say("input_audio_buffer.commit", useq=3)
        error = await heard_error(talker)
        assert (error["code"], error["event_id"]) == ("too_fast", "b")
        while (await talker.until("parley.ack"))[-1]["useq"] < 3:
            pass


async def test_chunks_on_the_phone_of_the_watch_app(stage: Stage, two_seconds_for_good: None) -> None:
    async with stage.http.ws_connect(f"{stage.url}/realtime") as ws:
        assert (await ws.receive_json(timeout=LIMIT_S))["type"] == "session.created"
        await ws.send_json({"type": "start_conversation", "conversationId": "c1", "conversationHistory": []})
        await ws.send_bytes(SECOND * 2)
        await ws.send_bytes(SECOND)
        while (heard := await ws.receive_json(timeout=LIMIT_S))["type"] != "error":
            assert heard["type"] == "conversation_started"
        assert heard["message"].startswith("This is faster than real time")


async def test_an_upload_of_the_watch_is_read_no_faster(stage: Stage, two_seconds: None) -> None:
    """Nothing of it is refused, and nothing lost."""
    async with stage.http.get(f"{stage.url}/realtime/stream?conversationId=c1") as stream:
        assert stream.status == 200
        async with stage.http.post(
            f"{stage.url}/realtime/upload?conversationId=c1", data=SECOND * 2 + SECOND[:24_000]
        ) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
        entries: Any = await stage.redis.xrange((await stage.session("anonymous", "c1")).keys.pcm)
        assert sum(len(fields.get(b"audio", b"")) for _, fields in entries) == 120_000


async def test_a_chunk_on_the_ios_door(stage: Stage, two_seconds_for_good: None) -> None:
    async with stage.http.post(f"{stage.url}/api/sessions", json={"sampleRate": 16_000}) as created:
        url = f"{stage.url}/api/sessions/{(await created.json())['id']}/upload_audio"
    for status in (200, 200, 429):
        async with stage.http.post(url, data=bytes(32_000)) as answer:
            assert answer.status == status
    assert int(answer.headers["Retry-After"]) > 0


# ---- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["openai", "watch", "ios"])
@pytest.mark.parametrize("what", ["CONNECTIONS", "SESSIONS"])
async def test_streams_count_too(redis_server: EmbeddedServer, redis: Redis, door: str, what: str) -> None:
    """A second one is refused before its first byte, with when to come back; when the first has gone there is room."""
    async with gateway(redis_server, redis, JWT_SECRET=NEW, **{f"PARLEY_MAX_{what}_PER_USER": "1"}) as stage:
        headers = {"Authorization": f"Bearer {token('ann')}"}

        async def path() -> str:
            match door:
                case "openai":
                    return "/v1/realtime/sse?model=any"
                case "watch":
                    return f"/realtime/stream?conversationId={secrets.token_hex(4)}"
            async with stage.http.post(f"{stage.url}/api/sessions", json={}, headers=headers) as created:
                return f"/api/sessions/{(await created.json())['id']}/stream_audio"

        first, second = await path(), await path()
        async with stage.http.get(stage.url + first, headers=headers) as stream:
            assert stream.status == 200
            async with stage.http.get(stage.url + second, headers=headers) as refused:
                assert refused.status == 429
                assert int(refused.headers["Retry-After"]) > 0
        if what == "CONNECTIONS":
            await count(redis, keys.limit("connections", "user", "ann"), 0)
            async with stage.http.get(stage.url + second, headers=headers) as stream:
                assert stream.status == 200


async def test_speech_over_http_counts_too(redis_server: EmbeddedServer, redis: Redis) -> None:
    """As long as its body lasts."""
    async with gateway(redis_server, redis, JWT_SECRET=NEW, PARLEY_MAX_CONNECTIONS_PER_USER="2") as stage:
        headers = {"Authorization": f"Bearer {token('ann')}"}
        more = asyncio.Event()

        async def speech() -> AsyncIterator[bytes]:
            yield bytes(960)
            await more.wait()

        async with stage.http.get(f"{stage.url}/v1/realtime/sse?model=any", headers=headers) as stream:
            while not (event := await stream.content.readline()).startswith(b"data:"):
                pass
            url = f"{stage.url}/v1/realtime/audio?session={json.loads(event[5:])['session']['id']}"
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(stage.http.post(url, data=speech(), headers=headers))
                await count(redis, keys.limit("connections", "user", "ann"), 2)
                async with stage.http.post(url, data=bytes(960), headers=headers) as refused:
                    assert refused.status == 429
                more.set()
            async with speaking.result() as answered:
                assert await answered.json() == {"samples": 480}


async def test_sessions_that_are_created_by_request(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept for a day: so many of them, and no more, whether they are used or not."""
    monkeypatch.setattr(limits, "MAX_RECORDS", 2)
    async with gateway(redis_server, redis, JWT_SECRET=NEW) as stage:
        for user, status in (("ann", 200), ("ann", 200), ("ann", 429), ("bob", 200)):
            headers = {"Authorization": f"Bearer {token(user)}"}
            async with stage.http.post(f"{stage.url}/api/sessions", json={}, headers=headers) as answer:
                assert answer.status == status
        assert await redis.pttl(keys.limit("records", "user", "ann")) > HOLD_MS["sessions"]
