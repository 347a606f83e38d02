"""The watch app on the phone, to the byte: JSON over a WebSocket, spoken by a client that is not ours (`websockets`)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection

from cli.token import mint
from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from streams import down, pcm, turns
from streams.consumer import read
from streams.messages import End
from streams.sessions import Session, Sessions
from streams.turns import HistoryLine
from tests.contract.doors.openai_stage import system
from tests.contract.doors.stage import Stage
from tests.contract.doors.watch_app import LIMIT_S, streaming, upload

TENTH = bytes(range(256)) * 18 + bytes(192)

Object = dict[str, Any]


class Phone:
    """The app: it says nothing before it has heard something."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def hear(self) -> Object:
        async with asyncio.timeout(LIMIT_S):
            text = await self.socket.recv(decode=True)
        assert isinstance(text, str)
        heard: Object = json.loads(text)
        return heard

    async def until(self, kind: str) -> list[Object]:
        heard = [await self.hear()]
        while heard[-1]["type"] != kind:
            heard.append(await self.hear())
        return heard

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def start(self, conversation: str = "c1", *history: Object) -> None:
        await self.say("start_conversation", conversationId=conversation, conversationHistory=list(history))
        assert await self.hear() == {"type": "conversation_started", "conversationId": conversation}

    async def say_audio(self, audio: bytes, key: str = "data") -> None:
        await self.say("audio_chunk", **{key: base64.b64encode(audio).decode()})

    async def hear_nothing_more(self) -> None:
        await self.say("ping")
        assert (await self.hear())["type"] == "pong"

    async def hear_close(self) -> tuple[int, str]:
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await self.socket.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason

    def cut(self) -> None:
        """The network is gone."""
        self.socket.transport.abort()


@asynccontextmanager
async def dialled(url: str, query: str = "") -> AsyncIterator[Phone]:
    async with websockets.connect(url.replace("http", "ws", 1) + "/realtime" + query, compression=None, max_size=None) as ws:
        yield Phone(ws)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Phone]:
    """Connected, and told so."""
    async with dialled(url) as phone:
        assert await phone.hear() == {"type": "session.created"}
        yield phone


async def session_of(stage: Stage, conversation: str = "c1") -> Session:
    return await stage.session("anonymous", conversation)


async def said_to(stage: Stage, session: Session, count: int) -> list[Any]:
    return [message for _, message in await stage.pcm(session, count + 1)][1:]


async def test_the_phone_is_told_that_it_is_connected(stage: Stage) -> None:
    """At once, or it would wait for ever; and nothing else. No session is opened for a phone that says nothing."""
    async with calling(stage.url) as phone:
        await phone.hear_nothing_more()
        assert await stage.redis.keys("*") == []


async def test_a_conversation_is_told_in_the_words_of_the_contract(stage: Stage) -> None:
    async with calling(stage.url) as phone:
        await phone.start("c1", {"role": "user", "content": "Hi\n"}, {"role": "x"}, {"role": "assistant", "content": "Ho"})
        session = await session_of(stage)
        history = (HistoryLine("user", "Hi\n"), HistoryLine("assistant", "Ho"))
        assert await stage.opened(session) == turns.Opened("anonymous", "watch", turn_mode="server_vad", history=history)
        bridge = await stage.bridge(session)
        await bridge.say_event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        await bridge.say_event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
        await bridge.say_event("conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello?")
        await bridge.say_event("response.output_audio_transcript.delta", response_id="r1", delta="Good\nday")
        await bridge.say_audio(TENTH)
        await bridge.say_text("Good\nday")
        await bridge.say_done()
        heard = await phone.until("response_complete")  # what waits to be sent would be void
        await bridge.say(down.Interrupted("i1", 0, 120), down.Failed("x", "Something is wrong."))
        await bridge.say(down.Notice("usage_limit_near", "You have used 80 %."), down.Ended("x"))
        heard += await phone.until("conversation_ended")
    assert heard == [
        {"type": "speech_started", "conversationId": "c1"},
        {"type": "speech_stopped", "conversationId": "c1"},
        {"type": "user_transcript", "conversationId": "c1", "text": "Hello?"},
        {"type": "transcript_delta", "conversationId": "c1", "text": "Good\nday"},
        {"type": "audio_response", "conversationId": "c1", "data": base64.b64encode(TENTH).decode()},
        {"type": "transcript_complete", "conversationId": "c1", "text": "Good\nday"},
        {"type": "response_complete", "conversationId": "c1"},
        {"type": "interrupted", "conversationId": "c1", "item": "i1", "at_ms": 120},
        {"type": "error", "conversationId": "c1", "message": "Something is wrong."},
        {"type": "error", "conversationId": "c1", "message": "You have used 80 %."},
        {"type": "conversation_ended", "conversationId": "c1"},
    ]


async def test_speech_comes_in_any_of_its_forms(stage: Stage) -> None:
    """Base64 under either name, or raw; split in the middle of a sample."""
    async with calling(stage.url) as phone:
        await phone.start()
        await phone.say_audio(TENTH[:3])
        await phone.say_audio(TENTH[3:1000], key="audio")
        await phone.socket.send(TENTH[1000:4799])
        await phone.say_audio(b"")
        await phone.say_audio(TENTH[4799:])
        await phone.say("end_conversation")
        session = await session_of(stage)
        async with asyncio.timeout(LIMIT_S):
            entries: list[Any] = []
            while not (entries and isinstance(entries[-1], End)):
                entries = [entry.message for entry in await read(stage.redis, session.keys.pcm, pcm.decoder)][1:]
                await asyncio.sleep(0.005)
        assert b"".join(entry.audio for entry in entries[:-1]) == TENTH
        assert entries[-1] == End("client_ended", after_answer=True)
        assert await stage.handed_out("bridge") == [session.sid]


async def test_speech_without_a_conversation_is_told_what_to_do(stage: Stage) -> None:
    async with calling(stage.url) as phone:
        for say in (phone.say_audio(TENTH), phone.socket.send(TENTH)):
            await say
            heard = await phone.hear()
            assert list(heard) == ["type", "message"]
            assert heard["type"] == "error"
            assert "start_conversation" in heard["message"]
        await phone.start()
        await phone.hear_nothing_more()


async def test_one_conversation_follows_the_other_on_one_socket(stage: Stage) -> None:
    """After its end; the answer of the first does not reach the second."""
    async with calling(stage.url) as phone:
        for n in range(3):
            await phone.start(f"c{n}")
            await phone.say_audio(TENTH)
            bridge = await stage.bridge(session := await session_of(stage, f"c{n}"))
            await phone.say("end_conversation")
            assert (await said_to(stage, session, 2))[1] == End("client_ended", after_answer=True)
            await bridge.say_audio(TENTH)
            await bridge.say_done()
            await bridge.say(down.Ended("client_ended"))
            heard = await phone.until("conversation_ended")
            assert [event["type"] for event in heard] == ["audio_response", "response_complete", "conversation_ended"]
            assert {event["conversationId"] for event in heard} == {f"c{n}"}
        await phone.hear_nothing_more()


async def test_a_conversation_in_which_nothing_was_said_ends_at_once(stage: Stage) -> None:
    """And there may be none to end."""
    async with calling(stage.url) as phone:
        await phone.start()
        session = await session_of(stage)
        await phone.say("end_conversation")
        assert await phone.hear() == {"type": "conversation_ended", "conversationId": "c1"}
        await phone.say("end_conversation")
        assert await phone.hear() == {"type": "conversation_ended"}
        await stage.gone(session.keys.down)
        assert await stage.handed_out("bridge") == []


async def test_a_second_start_leaves_the_first_waiting(stage: Stage) -> None:
    """As if its line had broken; it may be gone on with."""
    async with calling(stage.url) as phone:
        await phone.start("c1")
        await phone.say_audio(TENTH)
        first = await session_of(stage, "c1")
        bridge = await stage.bridge(first)
        await said_to(stage, first, 1)
        await phone.start("c2")
        await bridge.say_audio(TENTH)
        await phone.hear_nothing_more()
        await stage.detached(first)
        await phone.start("c1")
        assert (await phone.hear())["type"] == "audio_response"
        assert await stage.handed_out("bridge") == [first.sid]


async def test_a_redial_goes_on_with_what_it_missed(stage: Stage) -> None:
    """On the same conversation; its history does not count any more."""
    async with calling(stage.url) as phone:
        await phone.start()
        await phone.say_audio(TENTH)
        session = await session_of(stage)
        bridge = await stage.bridge(session)
        await bridge.say_audio(TENTH)
        assert (await phone.hear())["type"] == "audio_response"
        await stage.arrived(session, (await read(stage.redis, session.keys.down, down.decoder))[-1].id)
        phone.cut()
    await stage.detached(session)
    await bridge.say_audio(TENTH[::-1], start_ms=100)
    await bridge.say_done()
    async with calling(stage.url) as phone:
        await phone.start("c1", {"role": "user", "content": "Hi"})
        heard = await phone.until("response_complete")
        assert [event["type"] for event in heard] == ["audio_response", "response_complete"]
        assert base64.b64decode(heard[0]["data"]) == TENTH[::-1]
        await phone.say_audio(TENTH)
        assert len(await said_to(stage, session, 2)) == 2


async def test_the_newest_connection_has_the_conversation(stage: Stage) -> None:
    """The phone's, or the watch's."""
    async with calling(stage.url) as older:
        await older.start()
        async with streaming(stage.url) as stream:
            await stream.hear()
            code, reason = await older.hear_close()
            assert 4000 <= code < 5000
            assert "newer connection" in reason
            assert (await upload(stage.url, TENTH)).status == 200


async def test_a_gateway_that_stops_says_so(settings: GatewaySettings, redis: Redis) -> None:
    """Also to a phone that has no conversation."""
    async with AsyncExitStack() as phones:
        async with serving(settings) as url:
            idle = await phones.enter_async_context(calling(url))
            busy = await phones.enter_async_context(calling(url))
            await busy.start()
            await busy.say_audio(TENTH)
            await busy.hear_nothing_more()
            session = await session_at(redis)
        for phone in (idle, busy):
            assert (await phone.hear_close())[0] == 1012
        assert await redis.exists(session.keys.down)
        assert await redis.xlen(session.keys.pcm) == 2


async def test_without_redis_the_phone_is_told_to_come_later(stage: Stage, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    try:
        async with calling(stage.url) as phone:
            await phone.say("start_conversation", conversationId="c1")
            heard = await phone.hear()
            assert heard["type"] == "error"
            assert "later" in heard["message"]
            assert (await phone.hear_close())[0] == 1013
    finally:
        await redis.config_set("maxmemory", "0")


@pytest.mark.parametrize(
    ("query", "reason"),
    [("", "Authentication required"), ("?token=x", "Invalid token")],
)
async def test_a_bad_token_is_a_policy_violation(
    redis_server: EmbeddedServer, redis: Redis, query: str, reason: str
) -> None:
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, JWT_SECRET="s" * 32)
    async with serving(settings) as url, dialled(url, query) as phone:
        assert await phone.hear_close() == (1008, reason)


async def test_the_conversations_of_two_users_are_apart(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Also when they have the same id."""
    secret = "s" * 32
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, JWT_SECRET=secret)

    def token(user: str) -> str:
        return mint(secret, user, "watch", time.time(), 60)

    async with (
        serving(settings) as url,
        dialled(url, f"?token={token('ann')}") as ann,
        dialled(url, f"?token={token('bob')}") as bob,
    ):
        for phone in (ann, bob):
            assert (await phone.hear())["type"] == "session.created"
            await phone.start()
        for phone in (ann, bob):
            await phone.hear_nothing_more()
        sids = {await redis.get(key) for key in await redis.keys("parley:at:*")}
        assert len(sids) == 2


BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "no JSON": ("hello", ["JSON"]),
    "nothing": ("", ["JSON"]),
    "an array": ("[]", ["object"]),
    "no type": ("{}", ["type", "start_conversation", "audio_chunk", "end_conversation"]),
    "an unknown type": ('{"type": "config"}', ['"config"', "start_conversation"]),
    "a bottomless object": ('{"type": "ping", "x": ' + "[" * 100_000, ["JSON"]),
    "a half surrogate": ('{"type": "start_conversation", "conversationId": "\\ud800"}', ["JSON"]),
    "no conversation": ('{"type": "start_conversation"}', ["conversationId"]),
    "an empty conversation": ('{"type": "start_conversation", "conversationId": ""}', ["conversationId"]),
    "a blank conversation": ('{"type": "start_conversation", "conversationId": "  "}', ["conversationId"]),
    "a very long conversation": (json.dumps({"type": "start_conversation", "conversationId": "c" * 257}), ["256"]),
    "a numbered conversation": ('{"type": "start_conversation", "conversationId": 7}', ["conversationId"]),
    "no audio": ('{"type": "audio_chunk"}', ["data", "base64"]),
    "audio that is a number": ('{"type": "audio_chunk", "data": 1}', ["data", "base64"]),
    "audio that is not base64": ('{"type": "audio_chunk", "data": "*#!"}', ["base64", "PCM16"]),
    "audio before a conversation": (b"\1\2", ["start_conversation"]),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_wrong_is_told_and_the_next_message_works(stage: Stage, name: str) -> None:
    bad, words = BAD[name]
    async with calling(stage.url) as phone:
        await phone.socket.send(bad)
        heard = await phone.hear()
        assert list(heard) == ["type", "message"]
        assert [word for word in words if word not in heard["message"]] == []
        await phone.start()


async def test_history_that_is_none_kills_no_conversation(stage: Stage) -> None:
    async with calling(stage.url) as phone:
        histories: list[Any] = [None, 1, "x", {}, [1, None, {"role": "user"}]]
        for n, history in enumerate(histories):
            await phone.say("start_conversation", conversationId=f"c{n}", conversationHistory=history)
            assert (await phone.hear())["type"] == "conversation_started"
            opened = await stage.opened(await session_of(stage, f"c{n}"))
            assert isinstance(opened, turns.Opened)
            assert opened.history == ()


ANYTHING = st.one_of(
    st.text(),
    st.binary(max_size=50),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    ).map(json.dumps),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["start_conversation", "audio_chunk", "end_conversation", "ping", "session.created", "", None]
            )
        },
        optional={
            "data": st.one_of(st.text(), st.none(), st.integers()),
            "audio": st.one_of(st.text(), st.none(), st.integers()),
            "conversationId": st.one_of(st.text(max_size=3), st.integers()),
            "conversationHistory": st.one_of(st.text(), st.lists(st.dictionaries(st.text(), st.text()))),
        },
    ).map(json.dumps),
)


async def test_no_message_at_all_closes_the_connection(stage: Stage) -> None:
    """Hundreds of malformed ones on one socket, with a conversation and without."""
    messages: list[str | bytes] = []

    @settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck))
    @given(ANYTHING)
    def collect(message: str | bytes) -> None:
        messages.append(message)

    collect()
    assert len(messages) >= 100
    known = {"error", "pong", "conversation_started", "conversation_ended"}
    async with calling(stage.url) as phone:
        for number, message in enumerate(messages):
            if number % 40 == 20:
                await phone.say("start_conversation", conversationId="c1")
            await phone.socket.send(message)
            await phone.say("ping")
            assert {event["type"] for event in await phone.until("pong")} <= known, message
        await phone.say("ping")
        await phone.until("pong")


async def test_a_spoken_turn(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Said on one gateway, ended on another after a redial; the answer is whole before the goodbye."""
    said = bytes((n * n // 97) % 251 for n in range(24_000))
    async with system(redis_server, Options(speed=0), gateways=2) as parley:
        async with calling(parley.urls[0]) as phone:
            await phone.start()
            await phone.socket.send(said)
            while not await redis.xlen((await session_at(redis)).keys.pcm) > 1:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)
            phone.cut()
        async with calling(parley.urls[1]) as phone:
            await phone.start()
            await phone.say("end_conversation")
            heard = await phone.until("conversation_ended")
            assert [event["type"] for event in heard[-2:]] == ["response_complete", "conversation_ended"]
            audio = b"".join(base64.b64decode(event["data"]) for event in heard if event["type"] == "audio_response")
            assert audio.startswith(said)
            await phone.hear_nothing_more()


async def session_at(redis: Redis) -> Session:
    session = await Sessions(redis).find("anonymous", "c1")
    assert session is not None
    return session
