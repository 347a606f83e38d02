"""The openai door: through Parley a Realtime client sees what it sees at the model itself."""

from __future__ import annotations

import asyncio
import base64
from random import Random

import aiohttp
import pytest
from openai import AsyncOpenAI
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from realtime_bridge import budget
from realtime_bridge.personas import BUILT_IN
from runtime.embedded import EmbeddedServer
from simulator.answers import tone
from simulator.options import Options
from simulator.orders import ORDERS, speech
from simulator.script import Order
from simulator.server import running
from simulator.wire import encode
from streams import down, keys, pcm
from streams.consumer import read
from streams.keys import SessionKeys
from tests.contract.doors.openai_stage import LIMIT_S, Object, System, Talker, bridging, spoken, system

AT_ONCE = Options(speed=0)
PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}

pytestmark = pytest.mark.usefixtures("redis")


async def push_to_talk(client: Talker) -> Object:
    """Turn detection off; the session as it is then."""
    await client.say("session.update", session=PUSH_TO_TALK)
    return (await client.until("session.updated"))[-1]["session"]  # type: ignore[no-any-return]


def keys_of(session_id: str) -> SessionKeys:
    return SessionKeys(session_id.removeprefix("sess_"))


async def is_over(redis: Redis, session: SessionKeys) -> None:
    """Wait until nothing can be said any more."""
    async with asyncio.timeout(LIMIT_S):
        while await redis.exists(session.pcm):  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.section} {order.name}")
async def test_orders(order: Order, redis_server: EmbeddedServer) -> None:
    """Each order holds as it does at the simulator: nothing is added, nothing is missing, nothing comes earlier.

    Nothing is tolerated but the time it takes. (The deployment has no captions of its own here, as the orders expect.)
    """
    async with system(redis_server, order.options) as parley, parley.talker() as client:
        run = order.run()
        while not run.is_complete:
            for event in run.to_send():
                await client.say_event(event)
            run.feed(await client.hear())


async def test_a_client_that_only_connects_is_greeted_and_costs_no_worker_anything(
    redis_server: EmbeddedServer, redis: Redis
) -> None:
    async with system(redis_server, AT_ONCE, transcription="gpt-transcribe") as parley:
        async with parley.talker("?model=whatever") as client:
            created = await client.hear()
            session = created["session"]
            assert session["id"].startswith("sess_")
            assert session["model"] == "gpt-realtime-2.1"
            assert session["audio"]["input"]["transcription"] == {"model": "gpt-transcribe"}
            assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
            assert not await redis.xrange(keys.dispatch("bridge"))
        await is_over(redis, keys_of(session["id"]))
        assert not parley.simulator.sessions


async def test_an_updated_session_keeps_its_id(redis_server: EmbeddedServer) -> None:
    """It is ours, not that of the model's session behind it, which may change."""
    async with system(redis_server, AT_ONCE) as parley, parley.talker() as client:
        created = await client.hear()
        await client.say("session.update", session={"type": "realtime", "instructions": "Be brief.", "model": "mine"})
        updated = await client.hear()
        assert updated["session"]["id"] == created["session"]["id"]
        assert updated["session"]["instructions"] == "Be brief."
        assert parley.simulator.sessions[0].config.wire["instructions"] == "Be brief."


async def test_speech_goes_up_to_the_byte_however_it_is_cut(redis_server: EmbeddedServer) -> None:
    """Also in the middle of samples, and in one event of many seconds."""
    random = Random(5)
    audio = random.randbytes(300_000)
    async with system(redis_server, AT_ONCE) as parley, parley.talker() as client:
        await push_to_talk(client)
        at = 0
        while at < len(audio):
            size = random.choice((1, 2, 3, 959, 960, 4801, 120_000))
            await client.append(audio[at : at + size])
            at += size
        await client.say("input_audio_buffer.commit")
        await client.say("response.create")
        assert spoken(await client.until("response.done")) == audio
        assert bytes(parley.simulator.sessions[0].recording.appended) == audio


async def test_one_append_is_one_entry(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Nothing waits for more."""
    async with system(redis_server, AT_ONCE) as parley, parley.talker() as client:
        session = await push_to_talk(client)
        appended: list[bytes] = []
        stored: list[bytes] = []
        for n in range(5):
            appended.append(bytes([n]) * 960)
            await client.append(appended[-1])
            async with asyncio.timeout(LIMIT_S):
                while len(stored) < len(appended):
                    entries = await read(redis, keys_of(session["id"]).pcm, pcm.decoder)
                    stored = [entry.message.audio for entry in entries if isinstance(entry.message, pcm.Audio)]
            assert stored == appended


async def test_a_mistake_is_told_and_the_connection_goes_on(redis_server: EmbeddedServer) -> None:
    """By the door, without a worker; and by the model, under the name that the client gave, or none."""
    async with system(redis_server, AT_ONCE) as parley, parley.talker() as client:
        await client.hear()
        await client.ws.send_bytes(b"\x00")
        await client.ws.send_str("{")
        await client.say("no.such.type", event_id="mine")
        await client.say("input_audio_buffer.append", audio="!", event_id="mine_2")
        told = [(await client.hear())["error"] for _ in range(4)]
        assert [error["code"] for error in told] == ["invalid_event", "invalid_json", "invalid_event", "invalid_value"]
        assert [error["event_id"] for error in told] == [None, None, "mine", "mine_2"]
        assert not parley.simulator.sessions
        for event_id in ("mine_3", None):
            fields = {} if event_id is None else {"event_id": event_id}
            await client.say("session.update", session={"type": "realtime", "bogus": 1}, **fields)
            error = (await client.hear())["error"]
            assert (error["code"], error["param"], error["event_id"]) == ("unknown_parameter", "session.bogus", event_id)
        await client.say("input_audio_buffer.commit", event_id="mine_4")
        error = (await client.hear())["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine_4")
        await client.say("input_audio_buffer.clear")
        assert (await client.hear())["type"] == "input_audio_buffer.cleared"


async def test_what_the_client_cuts_off_is_void_for_every_replay(redis_server: EmbeddedServer, redis: Redis) -> None:
    options = Options(speed=1, answer=tone(440, 20))
    async with system(redis_server, options) as parley, parley.talker() as client:
        session = await push_to_talk(client)
        await client.say("response.create")
        delta = (await client.until("response.output_audio.delta"))[-1]
        truncate = {"item_id": delta["item_id"], "content_index": 0, "audio_end_ms": 60}
        await client.say("conversation.item.truncate", **truncate)
        await client.until("conversation.item.truncated")
        told = await read(redis, keys_of(session["id"]).down, down.decoder)
        assert down.Interrupted(delta["item_id"], 0, 60) in [entry.message for entry in told]


async def test_an_official_client_has_a_text_turn_and_a_spoken_one(redis_server: EmbeddedServer) -> None:
    """With nothing but its base URL changed."""
    async with (
        system(redis_server, AT_ONCE) as parley,
        AsyncOpenAI(api_key="sk-any", base_url=f"{parley.urls[0]}/v1") as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning."}]}
        )
        await connection.response.create()
        text = ""
        async for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_text.done":
                text = event.text
            if event.type == "response.done":
                break
        assert text
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["audio"], "audio": {"input": {"turn_detection": None}}}
        )
        await connection.input_audio_buffer.append(audio=speech(0.5))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        heard, transcript = b"", ""
        async for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_audio.delta":
                heard += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                transcript = event.transcript
            elif event.type == "response.done":
                break
    assert heard == base64.b64decode(speech(0.5))
    assert transcript == "I heard 0.500 seconds (12000 samples)."


async def test_a_browser_hands_its_key_over_as_a_subprotocol(redis_server: EmbeddedServer) -> None:
    """And gets the one that counts."""
    async with system(redis_server, AT_ONCE) as parley:
        protocols = ("realtime", "openai-insecure-api-key.any")
        async with parley.http.ws_connect(f"{parley.urls[0]}/v1/realtime?model=m", protocols=protocols) as ws:
            assert ws.protocol == "realtime"
            assert (await Talker(ws).hear())["type"] == "session.created"


async def test_whoever_closes_ends_the_session(redis_server: EmbeddedServer, redis: Redis) -> None:
    """The model's session goes with it."""
    async with system(redis_server, AT_ONCE) as parley:
        async with parley.talker() as client:
            session = await push_to_talk(client)
        await is_over(redis, keys_of(session["id"]))


async def test_a_session_waits_for_a_client_whose_network_is_gone(redis_server: EmbeddedServer) -> None:
    """It goes on when told so, with what had been said before; else a redial is a session of its own."""
    async with system(redis_server, AT_ONCE, gateways=2) as parley:
        async with parley.talker() as client:
            session = await push_to_talk(client)
            await client.append(b"\x01\x02" * 24_000)
            client.cut()
        async with parley.talker() as stranger:
            assert (await stranger.hear())["session"]["id"] != session["id"]
        async with parley.talker(f"?session={session['id']}", gateway=1) as client:
            assert (await client.hear())["session"]["id"] == session["id"]
            await client.append(b"\x03\x04" * 24_000)
            await client.say("input_audio_buffer.commit")
            await client.say("response.create")
            assert spoken(await client.until("response.done")) == b"\x01\x02" * 24_000 + b"\x03\x04" * 24_000


async def test_the_newest_connection_has_the_session(redis_server: EmbeddedServer) -> None:
    async with system(redis_server, AT_ONCE, gateways=2) as parley, parley.talker() as older:
        session = await push_to_talk(older)
        async with parley.talker(f"?session={session['id']}", gateway=1) as newer:
            assert (await newer.hear())["type"] == "session.created"
            assert await older.hear_close() == 4409


@pytest.mark.parametrize("query", ["?session=sess_none", "?session=sess_none&parley=1&after=1-1", "?session=%00"])
async def test_a_session_that_is_not_there_cannot_be_gone_on_with(redis_server: EmbeddedServer, query: str) -> None:
    async with system(redis_server, AT_ONCE) as parley, parley.talker(query) as client:
        assert (await client.hear())["error"]["code"] == "session_not_found"
        assert await client.hear_close() == 4404


async def test_a_bridge_that_takes_over_knows_the_clients_session(redis_server: EmbeddedServer) -> None:
    """What it has changed, and what it has said in words: the next upstream session begins with it."""
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url)
    async with (
        aiohttp.ClientSession() as http,
        serving(settings) as url,
        running(AT_ONCE) as first,
        running(AT_ONCE) as second,
        System(http, [url], first).talker() as client,
    ):
        async with bridging(redis_server.url, first.base_url):
            await client.hear()
            session = {"type": "realtime", "instructions": "Be odd.", "output_modalities": ["text"]}
            await client.say("session.update", session=session)
            content = [{"type": "input_text", "text": "My name is Ann."}]
            item = {"type": "message", "role": "user", "content": content}
            await client.say("conversation.item.create", item=item)
            await client.say("response.create")
            await client.until("response.done")
            first_answers = len(client.log)
        async with bridging(redis_server.url, second.base_url):
            await client.say("response.create")
            await client.until("response.done")
            created = [e["type"] for e in client.log[first_answers:]].count("conversation.item.added")
            assert created == 1, "the new answer, and nothing that was there before"
            theirs = second.sessions[0]
            assert theirs.config.wire["instructions"] == "Be odd."
            assert b"My name is Ann." in encode([item.body for item in theirs.conversation.items])


async def test_a_session_whose_time_is_up_says_so_as_the_protocol_does(
    redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an `error`, as `session_expired`, and a polite close; the warning before it is for clients that know ours only."""
    monkeypatch.setenv("PARLEY_MAX_SESSION_S", "1.5")
    monkeypatch.setattr(budget, "NEAR_PERCENT", 1)  # on a slow machine the last fifth of it is over before it is looked at

    async def talk(query: str, warnings: list[str]) -> None:
        async with parley.talker(query) as client:
            extra = {"useq": 1} if warnings else {}
            await client.say("session.update", session={"type": "realtime", "instructions": "Be brief."}, **extra)
            heard = await client.until("error")
            assert heard[-1]["error"]["code"] == "session_too_long"
            assert [event["code"] for event in heard if event["type"] == "parley.notice"] == warnings
            assert await client.hear_close() == 1000

    async with system(redis_server, AT_ONCE) as parley:
        await asyncio.gather(talk("?model=any", []), talk("?model=any&parley=1", ["session_ends_soon"]))


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [({"OpenAI-Beta": "realtime=v1"}, ()), ({}, ("realtime", "openai-insecure-api-key.any", "openai-beta.realtime-v1"))],
    ids=["header", "subprotocol"],
)
async def test_the_beta_shape_is_refused_as_the_model_itself_refuses_it(
    redis_server: EmbeddedServer, headers: dict[str, str], protocols: tuple[str, ...]
) -> None:
    """In its own words, rather than by events that its client does not know."""
    async with system(redis_server, AT_ONCE) as parley:
        url = f"{parley.urls[0]}/v1/realtime?model=m"
        async with parley.http.ws_connect(url, headers=headers, protocols=protocols) as ws:
            error = (await Talker(ws).hear())["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "beta_api_shape_disabled")
            message = await ws.receive(LIMIT_S)
            assert (message.data, message.extra) == (4000, "invalid_request_error.beta_api_shape_disabled")
        async with parley.http.ws_connect(url, headers={"OpenAI-Beta": "assistants=v2"}) as ws:
            assert (await Talker(ws).hear())["type"] == "session.created"


async def test_a_locked_deployment_keeps_its_instructions_to_itself(redis_server: EmbeddedServer) -> None:
    """An official client that brings its own goes on working, as whom the deployment wants."""
    async with (
        system(redis_server, AT_ONCE, locked=True) as parley,
        AsyncOpenAI(api_key="sk-any", base_url=f"{parley.urls[0]}/v1") as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        await connection.session.update(session={"type": "realtime", "instructions": "Mine.", "output_modalities": ["text"]})
        await connection.response.create(response={"instructions": "Mine, too."})
        told = []
        async for event in connection:
            told.append(event.to_json())
            if event.type == "error":
                assert event.error.code == "locked_parameter"
            if event.type == "session.updated":
                assert event.session.parley["locked"][0] == "instructions"  # type: ignore[union-attr]
            if event.type == "response.done":
                break
        model = parley.simulator.sessions[0].config.wire
        assert model["instructions"] == BUILT_IN.instructions
        assert model["output_modalities"] == ["text"]
        assert BUILT_IN.instructions not in "".join(told)
        assert "locked_parameter" in "".join(told)
