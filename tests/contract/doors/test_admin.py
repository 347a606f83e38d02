"""The operators' API: who may, what they see, what they do, and that only who may listen hears or reads what is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgpack
import msgspec
import pybase64
import pytest
from redis.asyncio import Redis

from cli.load.lines import events
from gateway.app import serving
from gateway.operators import TRIES
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from simulator.answers import words
from simulator.options import Options
from streams import gateways
from streams.keys import SessionKeys
from streams.sessions import Sessions
from streams.turns import Opened
from tests.contract.doors.api_stage import KEY as API_KEY
from tests.contract.doors.api_stage import Parley, audio, has_ended, parley
from tests.contract.doors.openai_stage import LIMIT_S, Object, Talker
from tests.contract.doors.test_api import closes, speaks

ADMIN, LISTEN = "operators-key-" * 3, "listeners-key-" * 3
FAST = Options(speed=0, transcription_delay_s=0, answer=words("Good evening."))
RIGHTS: dict[str, Any] = {"PARLEY_ADMIN_KEYS": ADMIN, "PARLEY_LISTEN_KEYS": LISTEN}


@asynccontextmanager
async def operated(redis: EmbeddedServer, options: Options = FAST, **settings: Any) -> AsyncIterator[Parley]:
    async with parley(redis, options, **RIGHTS, **settings) as whole:
        yield whole


async def until(whole: Parley, path: str, wanted: Any) -> Object:
    """The answer, as soon as it is as wanted."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            answer = await whole.api.ask("GET", path, key=ADMIN)
            if wanted(answer.body):
                return answer.body
            await asyncio.sleep(0.01)


# ---- who may ---------------------------------------------------------------------------------------------------------


async def test_without_a_key_in_the_settings_there_is_nothing(redis: Redis, redis_server: EmbeddedServer) -> None:
    async with (
        serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url,
        aiohttp.ClientSession() as http,
    ):
        for path in ("/admin", "/admin/api/sessions", "/admin/api/gateways"):
            async with http.get(url + path, headers={"Authorization": f"Bearer {ADMIN}"}) as response:
                assert response.status == 404
                assert "PARLEY_ADMIN_KEYS" in await response.text()


async def test_an_operators_key_counts_in_the_header_only(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Neither a key of the app's backend is one, nor one that stands in the address."""
    async with operated(redis_server) as whole:
        assert (await whole.api.ask("GET", "/admin/api/sessions", key=ADMIN)).status == 200
        assert (await whole.api.ask("GET", "/admin/api/sessions", key=LISTEN)).status == 200
        for key, path in (
            (None, "/admin/api/sessions"),
            (None, f"/admin/api/sessions?token={ADMIN}"),
            (API_KEY, "/admin/api/gateways"),
        ):
            answer = await whole.api.ask("GET", path, key=key)
            assert answer.status == 401
            assert "PARLEY_ADMIN_KEYS" in answer.body["error"]
        assert (await whole.api.ask("GET", "/v1/sessions?user=a", key=ADMIN)).status == 401
        assert (await whole.api.ask("GET", "/admin/api/rights", key=ADMIN)).body == {"operate": True, "listen": False}
        assert (await whole.api.ask("GET", "/admin/api/rights", key=LISTEN)).body == {"operate": False, "listen": True}


async def test_who_tries_keys_is_not_heard_for_a_while(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Not with the right one either: else it could be found."""
    async with (
        serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url, **RIGHTS)) as url,
        aiohttp.ClientSession() as http,
    ):

        async def ask(key: str) -> aiohttp.ClientResponse:
            async with http.get(f"{url}/admin/api/gateways", headers={"Authorization": f"Bearer {key}"}) as response:
                return response

        assert [(await ask(f"wrong-{n}")).status for n in range(TRIES)] == [401] * TRIES
        refused = await ask(ADMIN)
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("query", ["audio=1", "words=1"])
async def test_to_operate_is_not_to_listen(redis: Redis, redis_server: EmbeddedServer, query: str) -> None:
    async with operated(redis_server) as whole, whole.talker() as client:
        sid = await speaks(client)
        answer = await whole.api.ask("GET", f"/admin/api/sessions/{sid}/events?{query}", key=ADMIN)
        assert answer.status == 403
        for path, body in ((f"sessions/{sid}/end", {}), ("gateways/any", {"drain": True})):
            answer = await whole.api.ask("POST", f"/admin/api/{path}", body, key=LISTEN)
            assert answer.status == 401
            assert "changes nothing" in answer.body["error"]


# ---- what they see ---------------------------------------------------------------------------------------------------


async def test_a_session_is_seen_from_any_gateway(redis: Redis, redis_server: EmbeddedServer) -> None:
    """With its door, its state, how far behind it is, how soon it was answered, and what it has cost."""
    async with operated(redis_server) as whole, whole.talker() as client, whole.talker(gateway=1):
        sid = await speaks(client)
        line = await until(whole, f"/admin/api/sessions/{sid}", lambda body: body["responses"] == 1)
        listed = await until(whole, "/admin/api/sessions", lambda body: body["total"] == 2)
        assert sorted(each["state"] for each in listed["sessions"]) == ["live", "quiet"]
        assert (line["door"], line["state"], line["input"], line["output"]) == ("openai", "live", "pcm16", "pcm16")
        assert line["uplink_waiting"] == 0
        assert line["latency_ms"] >= 0
        assert line["gateway"]
        assert line["bridge"]
        assert float(line["usd"]) >= 0
        user = await whole.api.ask("GET", f"/admin/api/sessions?user={line['user']}", key=ADMIN)
        assert sid in [each["id"] for each in user.body["sessions"]]
        assert (await whole.api.ask("GET", "/admin/api/sessions?user=nobody", key=ADMIN)).body["sessions"] == []


async def test_pages_follow_each_other_without_a_hole(redis: Redis, redis_server: EmbeddedServer) -> None:
    """The newest first, also of those that began in the same millisecond."""
    sessions = Sessions(redis)
    made = [(await sessions.create(Opened(user="ann", door="mobile"), f"c{n}")).session.sid for n in range(7)]
    await redis.zadd("parley:sessions", {sid: 1_000 + n // 3 for n, sid in enumerate(made)})
    async with operated(redis_server) as whole:
        seen, before = [], ""
        while True:
            page = (await whole.api.ask("GET", f"/admin/api/sessions?limit=2{before}", key=ADMIN)).body
            assert page["total"] == 7
            seen += [each["id"] for each in page["sessions"]]
            if page["next"] is None:
                break
            before = f"&before={page['next']}"
        assert sorted(seen) == sorted(made)
        assert seen[0] == made[6]
        assert set(seen[1:4]) == set(made[3:6])
        for wrong in ("limit=0", "limit=x", "limit=101", "before=x"):
            assert (await whole.api.ask("GET", f"/admin/api/sessions?{wrong}", key=ADMIN)).status == 400


# ---- what they do ----------------------------------------------------------------------------------------------------


async def test_a_session_is_ended(redis: Redis, redis_server: EmbeddedServer) -> None:
    """Whether it was spoken in or not; its client is told, and the document says why."""
    async with operated(redis_server) as whole, whole.talker() as client, whole.talker() as silent:
        sid = await speaks(client)
        quiet = str((await silent.hear())["session"]["id"]).removeprefix("sess_")
        async with asyncio.timeout(LIMIT_S):
            said = msgpack.packb(["are you there", ""])
            while not await redis.spublish(SessionKeys(quiet).control, said):  # its connection listens  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for each in (sid, quiet):
            assert (await whole.api.ask("POST", f"/admin/api/sessions/{each}/end", {}, key=ADMIN)).status == 202
        assert await closes(client) == 1000
        assert await closes(silent) == 1000
        assert (await whole.api.document(sid, has_ended))["reason"] == "ended_by_operator"
        async with asyncio.timeout(LIMIT_S):  # the document is there before the streams are gone
            while (await whole.api.ask("POST", f"/admin/api/sessions/{sid}/end", {}, key=ADMIN)).status != 404:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        wrong = await whole.api.ask("POST", f"/admin/api/sessions/{sid}/end", b"[]", key=ADMIN)
        assert wrong.status == 400


async def test_a_session_without_a_bridge_is_ended_here(redis: Redis, redis_server: EmbeddedServer) -> None:
    """There may be none for long."""
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, **RIGHTS)
    async with (
        serving(settings) as url,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as http,
        http.ws_connect(f"{url}/v1/realtime?model=any") as ws,
    ):
        client = Talker(ws)
        sid = str((await client.hear())["session"]["id"]).removeprefix("sess_")
        await client.say("input_audio_buffer.append", audio=audio(100))
        async with asyncio.timeout(LIMIT_S):
            while True:
                async with http.get(f"{url}/admin/api/sessions/{sid}") as response:
                    line = await response.json()
                if line["state"] == "waiting" and line["uplink_waiting"] > 0:
                    break
                await asyncio.sleep(0.01)
        async with http.post(f"{url}/admin/api/sessions/{sid}/end") as response:
            assert response.status == 202
        await closes(client)
        async with http.get(f"{url}/admin/api/sessions/{sid}") as response:
            assert response.status == 404


async def test_a_gateway_is_drained_and_takes_clients_again(
    redis: Redis, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "RENEW_S", 0.02)
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, **RIGHTS)
    async with (
        serving(settings) as url,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as http,
        http.ws_connect(f"{url}/v1/realtime?model=any") as ws,
    ):

        async def seen(wanted: Any) -> Object:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    async with http.get(f"{url}/admin/api/gateways") as response:
                        listed = (await response.json())["gateways"]
                    if listed and wanted(listed[0]):
                        return dict(listed[0])
                    await asyncio.sleep(0.01)

        async def ready() -> int:
            async with http.get(f"{url}/readyz") as response:
                return response.status

        async def wish(name: str, body: object) -> int:
            async with http.post(f"{url}/admin/api/gateways/{name}", json=body) as response:
                return response.status

        client = Talker(ws)
        await client.hear()
        one = await seen(lambda each: each["connections"] == 1)
        assert (one["draining"], await ready()) == (False, 200)
        assert await wish(one["name"], {"drain": True}) == 202
        assert await closes(client) == 1012
        await seen(lambda each: each["draining"] and each["connections"] == 0)
        assert await ready() == 503
        assert await wish(one["name"], {"drain": False}) == 202
        await seen(lambda each: not each["draining"])
        assert await ready() == 200
        assert await wish("nobody:1", {"drain": True}) == 404
        assert await wish(one["name"], {}) == 400
    assert await gateways.listed(redis) == []  # it has said that it stops


# ---- looking on ------------------------------------------------------------------------------------------------------


async def looked_on(whole: Parley, sid: str, query: str, key: str, act: Any) -> list[Object]:
    """All that is told while `act` is done, up to the session's end."""
    headers = {"Authorization": f"Bearer {key}"}
    async with whole.http.get(f"{whole.urls[1]}/admin/api/sessions/{sid}/events{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        await act()
        told: list[Object] = []
        async with asyncio.timeout(LIMIT_S):
            async for event in events(response):
                if event.name == "over":
                    return told
                if event.name == "entry":
                    told.append(msgspec.json.decode(event.data))
    raise AssertionError("it ended without saying so")


async def turn_and_end(whole: Parley, client: Talker, sid: str) -> None:
    await client.say("input_audio_buffer.append", audio=audio(300))
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")
    await client.until("response.done")
    await whole.api.ask("POST", f"/admin/api/sessions/{sid}/end", {}, key=ADMIN)


async def test_an_operator_sees_what_happens_and_nothing_of_what_is_said(redis: Redis, redis_server: EmbeddedServer) -> None:
    async with operated(redis_server) as whole, whole.talker() as client:
        sid = await speaks(client)
        told = await looked_on(whole, sid, "", ADMIN, lambda: turn_and_end(whole, client, sid))
        assert told[-1]["kind"] == "ended"
        assert told[-1]["reason"] == "ended_by_operator"
        spoken = [each for each in told if each["kind"] == "audio"]
        assert {each["side"] for each in spoken} == {"user", "model"}
        assert sum(each["ms"] for each in spoken if each["side"] == "user") == 300
        types = [each["type"] for each in told if each["kind"] == "event"]
        assert "response.done" in types
        assert next(each for each in told if each.get("type") == "response.done")["status"] == "completed"
        everything = msgspec.json.encode(told)
        assert b"evening" not in everything
        assert b'"audio":' not in everything.replace(b'"kind":"audio"', b"")
        assert b'transcript"' not in everything


async def test_who_may_listen_hears_both_sides(
    redis: Redis, redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """And that somebody listens stands in the log."""
    async with operated(redis_server) as whole, whole.talker() as client:
        sid = await speaks(client)
        told = await looked_on(whole, sid, "?audio=1&words=1", LISTEN, lambda: turn_and_end(whole, client, sid))
        said = b"".join(
            pybase64.b64decode(each["audio"]) for each in told if each["side"] == "user" and each["kind"] == "audio"
        )
        assert said == bytes(range(48)) * 300
        heard = b"".join(
            pybase64.b64decode(each["audio"]) for each in told if each["side"] == "model" and each["kind"] == "audio"
        )
        assert len(heard) > 0
        assert b"Good evening." in msgspec.json.encode(told)
        assert any("listens to the session" in record.getMessage() and record.sid == sid for record in caplog.records)  # type: ignore[attr-defined]
