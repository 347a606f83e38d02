"""The mobile door, to the byte: what the shipped app sends, what it is told, and what becomes of its session."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from streams import down, keys, pcm, turns, up
from streams.connection import text
from streams.errors import Over
from streams.messages import SetPersona
from streams.sessions import Sessions, now_ms
from tests.contract.doors.stage import LIMIT_S, Client, Stage, clients_are_cut_off_soon

SECOND = bytes(range(256)) * 187 + bytes(128)
"""48,000 bytes: a second of PCM16 at 24 kHz"""


async def test_a_ping_is_answered(stage: Stage) -> None:
    async with stage.client() as client:
        assert await client.ask({"type": "ping"}) == {"type": "pong"}


async def test_a_connection_has_a_session_and_no_worker_yet(stage: Stage) -> None:
    """A client that only connects costs no worker anything."""
    async with stage.client("/ws-mobile/ann?astrologer_id=luna") as client:
        await client.hear_nothing_more()
        session = await stage.session()
        opened = turns.Opened(user="ann", door="mobile", persona="luna", turn_mode="utterance")
        assert await stage.opened(session) == opened
        assert await stage.handed_out("bridge") == []


async def test_the_user_id_is_percent_decoded(stage: Stage) -> None:
    async with stage.client("/ws-mobile/ann%20%2F%C3%A9%3A1"):
        session = await stage.session("ann /é:1")
        assert await stage.opened(session) == turns.Opened(user="ann /é:1", door="mobile", turn_mode="utterance")


@pytest.mark.parametrize("user", ["a" * 257, "%20" * 257])
async def test_a_user_id_that_is_too_long_is_refused(stage: Stage, user: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with stage.client(f"/ws-mobile/{user}"):
            pass
    assert refused.value.status == 400


async def test_a_recording_goes_up_as_it_is(stage: Stage) -> None:
    """Whatever its bytes are: the transcoder looks at them, the gateway does not."""
    before = now_ms()
    async with stage.client() as client:
        await client.say_audio(b"no audio at all")
        session = await stage.session()
        (_, born), (_, file) = await stage.up(session, 2)
        assert born == up.GenOpened("files")
        assert isinstance(file, up.File)
        assert file.data == b"no audio at all"
        assert before <= file.arrived_ms <= now_ms()
        await stage.pcm(session, 1)
        assert await stage.handed_out("bridge") == await stage.handed_out("transcoder") == [session.sid]


async def test_a_session_is_handed_out_once(stage: Stage) -> None:
    async with stage.client() as client:
        for n in range(3):
            await client.say_audio(b"%d" % n)
        session = await stage.session()
        files = [message for _, message in await stage.up(session, 4)][1:]
        assert [file.data for file in files if isinstance(file, up.File)] == [b"0", b"1", b"2"]
        assert await stage.handed_out("bridge") == await stage.handed_out("transcoder") == [session.sid]


@pytest.mark.parametrize("declared", ["query", "config"])
async def test_declared_pcm_goes_straight(stage: Stage, declared: str) -> None:
    """In whole samples, at most a second each, with the end of the utterance; without a transcoder."""
    path = "/ws-mobile/ann" + ("?input_format=pcm16" if declared == "query" else "")
    async with stage.client(path) as client:
        if declared == "config":
            ack = await client.ask({"type": "config", "input_format": "pcm16"})
            assert ack["type"] == "config_ack"
        await client.say_audio(SECOND + b"\x01\x02\x03")
        session = await stage.session()
        entries = [message for _, message in await stage.pcm(session, 4)]
        assert entries[1:3] == [pcm.Audio(SECOND), pcm.Audio(b"\x01\x02")]
        end = entries[3]
        assert isinstance(end, pcm.UtteranceEnd)
        assert (end.samples, end.source) == (24_001, "pcm16 24000 Hz mono")
        assert await stage.handed_out("transcoder") == []
        assert await stage.handed_out("bridge") == [session.sid]


async def test_after_a_recording_pcm_takes_the_same_way(stage: Stage) -> None:
    """So that nothing overtakes."""
    async with stage.client() as client:
        await client.say_audio(b"file")
        await client.say({"type": "config", "input_format": "pcm16"})
        await client.say_audio(b"\x01\x02")
        session = await stage.session()
        entries = [message for _, message in await stage.up(session, 4)]
        assert entries[2] == up.Audio(b"\x01\x02")
        assert isinstance(entries[3], up.UtteranceEnd)
        await stage.pcm(session, 1)


async def test_a_recording_after_pcm_is_above_it(stage: Stage) -> None:
    """The ids that the transcoder makes of it (in its gen) are above all that went straight to `pcm`."""
    async with stage.client("/ws-mobile/ann?input_format=pcm16") as client:
        await client.say_audio(b"\x01\x02")
        session = await stage.session()
        straight = await stage.pcm(session, 3)
        await client.say({"type": "config", "input_format": "auto"})
        await client.say_audio(b"file")
        entries = await stage.up(session, 3)
        assert entries[1][1] == up.GenOpened("files")
        assert entries[2][0].left == entries[1][0].left > straight[-1][0].left
        await client.say_audio(b"another")
        assert (await stage.up(session, 4))[3][0].left == entries[1][0].left


async def test_a_persona_is_acknowledged_when_the_bridge_has_it(stage: Stage) -> None:
    async with stage.client() as client:
        await client.say({"type": "config", "astrologer_id": "luna"})
        session = await stage.session()
        assert (await stage.pcm(session, 2))[1][1] == SetPersona("luna")
        assert await stage.handed_out("bridge") == [session.sid]
        await client.hear_nothing_more()
        bridge = await stage.bridge(session)
        await bridge.say(down.PersonaSet("luna"))
        ack = await client.hear()
        assert list(ack) == ["type", "astrologer_id", "message"]
        assert (ack["type"], ack["astrologer_id"]) == ("config_ack", "luna")
        assert isinstance(ack["message"], str)


async def test_a_persona_after_a_recording_goes_up(stage: Stage) -> None:
    async with stage.client() as client:
        await client.say_audio(b"file")
        await client.say({"type": "config", "astrologer_id": "luna"})
        assert (await stage.up(await stage.session(), 3))[2][1] == SetPersona("luna")


async def test_a_config_without_persona_is_acknowledged_at_once(stage: Stage) -> None:
    async with stage.client() as client:
        for config in ({}, {"audio_format": "wav"}, {"input_format": "auto", "astrologer_id": None}, {"unknown": 1}):
            ack = await client.ask({"type": "config", **config})
            assert ack["type"] == "config_ack"
            assert ack["astrologer_id"] is None
        assert await stage.handed_out("bridge") == []


async def test_an_answer_streams_and_its_text_comes_once_after_it(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_audio(b"\x01\x02")
        assert await client.hear_audio() == b"\x01\x02"
        await bridge.say_text("Good")
        await bridge.say_audio(b"\x03\x04", item="i2")
        await bridge.say_text("evening.")
        await bridge.say_event("rate_limits.updated", rate_limits=[])
        await bridge.say_done()
        assert await client.hear_audio() == b"\x03\x04"
        assert await client.hear() == {"type": "text_response", "text": "Good evening."}
        await client.hear_nothing_more()


async def test_text_without_audio_is_an_answer(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_event("response.output_text.done", response_id="r1", text="Hello")
        await bridge.say_done()
        assert await client.hear() == {"type": "text_response", "text": "Hello"}


@pytest.mark.parametrize("by", ["query", "config"])
async def test_wav_is_one_complete_file_an_answer(stage: Stage, by: str) -> None:
    """Every byte of the header is right."""
    async with stage.client("/ws-mobile/ann" + ("?audio_format=wav" if by == "query" else "")) as client:
        if by == "config":
            await client.ask({"type": "config", "audio_format": "wav"})
        bridge = await stage.bridge(await stage.session())
        await bridge.say_audio(b"\x01\x02\x03\x04")
        await bridge.say_audio(b"\x05\x06", start_ms=100)
        await bridge.say_text("Hello")
        await client.hear_nothing_more()
        await bridge.say_done()
        header = struct.pack(
            "<4sI4s4sIHHIIHH4sI", b"RIFF", 42, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16, b"data", 6
        )
        assert len(header) == 44
        assert await client.hear_audio() == header + b"\x01\x02\x03\x04\x05\x06"
        assert await client.hear() == {"type": "text_response", "text": "Hello"}


async def test_a_new_format_counts_from_the_next_answer_on(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_audio(b"\x01\x02")
        assert await client.hear_audio() == b"\x01\x02"
        await client.ask({"type": "config", "audio_format": "wav"})
        await bridge.say_audio(b"\x03\x04")
        assert await client.hear_audio() == b"\x03\x04"
        await bridge.say_done()
        assert await client.hear() == {"type": "text_response", "text": ""}
        await bridge.say_audio(b"\x05\x06", response="r2", item="i2")
        await bridge.say_done(response="r2")
        assert (await client.hear_audio())[:4] == b"RIFF"


async def test_an_interruption_voids_what_is_kept_for_the_wav(stage: Stage) -> None:
    async with stage.client("/ws-mobile/ann?audio_format=wav") as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_audio(b"\x01\x02", item="i1")
        await bridge.say_audio(b"\x03\x04", item="i2")
        await bridge.say(down.Interrupted("i2", 0, 0))
        await bridge.say_audio(b"\x05\x06", item="i2")
        await bridge.say_done(status="cancelled")
        assert (await client.hear_audio())[44:] == b"\x01\x02"
        assert await client.hear() == {"type": "text_response", "text": ""}


async def test_a_response_that_said_nothing_is_no_answer(stage: Stage) -> None:
    """A tool call; and one that was cancelled before its first sound."""
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_done(response="r1")
        await bridge.say_done(response="r2", status="cancelled")
        await bridge.say_text("Hello", response="r3")
        await bridge.say_done(response="r3", status="cancelled")
        assert await client.hear() == {"type": "text_response", "text": "Hello"}
        await client.hear_nothing_more()


async def test_a_failed_response_says_why(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        error = {"type": "server_error", "code": "x", "message": "The model is on holiday."}
        await bridge.say_done(status="failed", details={"type": "failed", "error": error})
        heard = await client.hear()
        assert list(heard) == ["type", "error"]
        assert heard["type"] == "error"
        assert "The model is on holiday." in heard["error"]


async def test_a_failure_is_told_and_the_conversation_goes_on(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say(down.Failed("broken_media", "This is a JPEG picture."))
        assert await client.hear() == {"type": "error", "error": "This is a JPEG picture."}
        await bridge.say_audio(b"\x01\x02")
        assert await client.hear_audio() == b"\x01\x02"


async def test_a_notice_is_text_for_a_person_and_its_end_is_no_failure(stage: Stage) -> None:
    """`error` is what this contract has for a sentence; nothing is counted as one, and the close is the polite one."""
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say(down.Notice("usage_limit_near", "You have used 80 %."))
        assert await client.hear() == {"type": "error", "error": "You have used 80 %."}
        await bridge.say(down.Notice("usage_limit", "That was all.", final=True), down.Ended("usage_limit"))
        assert await client.hear() == {"type": "error", "error": "That was all."}
        assert await client.hear_close() == (1000, "usage_limit")
    metrics = await (await stage.http.get(f"{stage.url}/metrics")).text()
    assert 'parley_gateway_errors_total{code="upstream"' not in metrics


async def test_an_event_that_cannot_be_read_is_passed_over(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_event("response.done", response="not an object")
        await bridge.say_audio(b"\x01\x02")
        assert await client.hear_audio() == b"\x01\x02"


async def test_the_end_of_a_session_closes_the_connection_after_the_last_word(stage: Stage) -> None:
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say_audio(b"\x01\x02")
        await bridge.say(down.Ended("The time is over."))
        assert await client.hear_audio() == b"\x01\x02"
        assert await client.hear_close() == (1000, "The time is over.")


async def test_a_session_that_fails_closes_the_connection_as_an_error(stage: Stage) -> None:
    """`Failed` and then `Ended`: the reason is cut to what a close frame has room for, in whole characters."""
    async with stage.client() as client:
        bridge = await stage.bridge(await stage.session())
        await bridge.say(down.Failed("upstream", "The model does not answer."), down.Ended("é" * 100))
        assert (await client.hear())["error"] == "The model does not answer."
        assert await client.hear_close() == (1011, "é" * 61)


async def test_a_session_that_is_gone_closes_the_connection(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody announces it: the next word finds out."""
    monkeypatch.setattr("gateway.keeper.ATTACH_RENEW_S", 3600)  # which would find out, too
    async with stage.client() as client:
        session = await stage.session()
        await (await stage.bridge(session)).say(down.Failed("c", "Hello."))
        assert (await client.hear())["error"] == "Hello."  # it has looked: from now on it waits to be told
        await stage.redis.unlink(*session.keys.all)
        await client.say_audio(b"file")
        heard = await client.hear()
        assert heard["type"] == "error"
        code, reason = await client.hear_close()
        assert code == 1011
        assert reason


async def test_a_session_that_is_ended_closes_the_connection_at_once(stage: Stage) -> None:
    async with stage.client() as client:
        await client.hear_nothing_more()
        await Sessions(stage.redis).end(await stage.session(), linger_ms=0)
        assert (await client.hear_close())[0] == 1011


BAD: dict[str, tuple[Any, list[str]]] = {
    "no JSON": ("hello", ["JSON"]),
    "nothing": ("", ["JSON"]),
    "half an object": ('{"type": "ping"', ["JSON"]),
    "two objects": ('{"type": "ping"} {"type": "ping"}', ["JSON"]),
    "an array": ("[]", ["object"]),
    "a string": ('"ping"', ["object"]),
    "a number": ("1e999", ["object"]),
    "null": ("null", ["object"]),
    "no type": ("{}", ["type", "audio", "config", "ping"]),
    "a type that is a number": ('{"type": 1}', ["type", "audio", "config", "ping"]),
    "an unknown type": ('{"type": "start_conversation"}', ['"start_conversation"', "audio", "config", "ping"]),
    "a very long unknown type": (json.dumps({"type": "x" * 1000}), ["x" * 40 + "…"]),
    "a bottomless object": ('{"type": "ping", "x": ' + "[" * 100_000, ["JSON"]),
    "a half surrogate": ('{"type": "audio", "audio": "\\ud800"}', ["JSON"]),
    "no audio": ('{"type": "audio"}', ["audio", "base64"]),
    "audio under another name": ('{"type": "audio", "data": "AAAA"}', ["audio", "base64"]),
    "audio that is a number": ('{"type": "audio", "audio": 1}', ["audio", "base64"]),
    "audio that is null": ('{"type": "audio", "audio": null}', ["audio", "base64"]),
    "audio that is not base64": ('{"type": "audio", "audio": "*#!"}', ["base64"]),
    "base64 without padding": ('{"type": "audio", "audio": "AAA"}', ["base64"]),
    "base64 with a line break": ('{"type": "audio", "audio": "AAAA\\nAAAA"}', ["base64"]),
    "a data URI": ('{"type": "audio", "audio": "data:audio/m4a;base64,AAAA"}', ["base64", "prefix"]),
    "audio beyond ASCII": ('{"type": "audio", "audio": "é"}', ["base64"]),
    "empty audio": ('{"type": "audio", "audio": ""}', ["empty"]),
    "audio that is too large": (json.dumps({"type": "audio", "audio": "A" * (2 << 20)}), ["too large", "1.0 MB"]),
    "a persona that is a number": ('{"type": "config", "astrologer_id": 7}', ["astrologer_id"]),
    "a persona without a name": ('{"type": "config", "astrologer_id": ""}', ["astrologer_id"]),
    "a persona with a very long name": (json.dumps({"type": "config", "astrologer_id": "x" * 257}), ["astrologer_id"]),
    "an unknown audio format": ('{"type": "config", "audio_format": "ogg"}', ["audio_format", "pcm16", "wav"]),
    "an unknown input format": ('{"type": "config", "input_format": "mp3"}', ["input_format", "auto", "pcm16"]),
    "a binary frame": (b"\x00\x01", ["base64"]),
    "a text frame that is not UTF-8": (b"\xff", ["JSON"]),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_wrong_is_told_and_the_next_message_works(stage: Stage, name: str) -> None:
    """The answer is a sentence that tells what to do."""
    bad, words = BAD[name]
    async with stage.client() as client:
        if name == "a text frame that is not UTF-8":
            await client.ws.send_frame(bad, aiohttp.WSMsgType.TEXT)
        elif isinstance(bad, bytes):
            await client.ws.send_bytes(bad)
        else:
            await client.ws.send_str(bad)
        heard = await client.hear()
        assert list(heard) == ["type", "error"]
        assert heard["type"] == "error"
        assert [word for word in words if word not in heard["error"]] == []
        assert len(heard["error"]) < 400
        await client.hear_nothing_more()
        assert await stage.handed_out("bridge") == []


async def test_a_single_byte_of_pcm_is_empty(stage: Stage) -> None:
    async with stage.client("/ws-mobile/ann?input_format=pcm16") as client:
        assert "empty" in (await client.ask({"type": "audio", "audio": "AA=="}))["error"]


@pytest.mark.parametrize("query", ["audio_format=ogg", "input_format=mp3", f"astrologer_id={'x' * 257}"])
async def test_an_address_that_asks_for_the_unknown_is_told_so(stage: Stage, query: str) -> None:
    """And the connection works all the same."""
    async with stage.client(f"/ws-mobile/ann?{query}") as client:
        heard = await client.hear()
        assert heard["type"] == "error"
        assert query.split("=")[0] in heard["error"]
        await client.hear_nothing_more()


async def test_the_largest_recording_is_taken(stage: Stage) -> None:
    async with stage.client() as client:
        await client.say_audio(bytes(1 << 20))
        file = (await stage.up(await stage.session(), 2))[1][1]
        assert isinstance(file, up.File)
        assert len(file.data) == 1 << 20
        assert "too large" in (await client.ask({"type": "audio", "audio": "A" * 4 * (((1 << 20) + 3) // 3)}))["error"]


@pytest.mark.usefixtures("nobody_is_dead")
async def test_two_phones_with_one_name_never_hear_each_other(stage: Stage) -> None:
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for name in ("ann", "ann~1", "ann~2"):
            clients[name] = client = await stack.enter_async_context(stage.client())
            await client.hear_nothing_more()
            await client.say_audio(name.encode())
            session = await stage.session("ann", name)
            file = (await stage.up(session, 2))[1][1]
            assert isinstance(file, up.File)
            assert file.data == name.encode()
        for name in clients:
            bridge = await stage.bridge(await stage.session("ann", name))
            await bridge.say_text(name)
            await bridge.say_done()
        for name, client in clients.items():
            assert await client.hear() == {"type": "text_response", "text": name}
            await client.hear_nothing_more()


@pytest.mark.usefixtures("nobody_is_dead")
async def test_many_phones_with_one_name_come_at_once(stage: Stage) -> None:
    """Each gets a session of its own."""

    async def come() -> None:
        async with stage.client() as client:
            await client.hear_nothing_more()
            there.append(client)
            if len(there) == 40:
                all_there.set()
            await all_there.wait()

    there: list[Client] = []
    all_there = asyncio.Event()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(come())
        await all_there.wait()
        assert await stage.redis.zcard(keys.SESSIONS) == 40
        assert len(await stage.redis.keys("parley:at:*")) == 40


async def test_a_session_that_nobody_spoke_in_goes_with_its_client(stage: Stage) -> None:
    async with stage.client() as client:
        await client.hear_nothing_more()
        session = await stage.session()
    for key in (*session.keys.all, session.at):
        await stage.gone(key)
    await stage.gone(keys.SESSIONS)
    assert await stage.redis.keys("*") == []


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_is_waited_for(stage: Stage, how: str) -> None:
    """What it said is stored, nobody is attached any more, and its name still stands for its session."""
    async with stage.client() as client:
        await client.hear_nothing_more()  # it has the session
        await client.say_audio(b"last words")
        session = await stage.session()
        assert await stage.redis.exists(session.keys.attach)
        if how == "reset":
            transport = client.ws.get_extra_info("socket")
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert client.ws._response.connection is not None
            assert client.ws._response.connection.transport is not None
            client.ws._response.connection.transport.abort()
        else:
            await client.ws.close()
        await stage.gone(session.keys.attach)
    assert [type(message) for _, message in await stage.up(session, 2)] == [up.GenOpened, up.File]
    assert await stage.session() == session


async def test_a_redial_lands_in_its_session_with_what_it_missed(stage: Stage) -> None:
    """What was not known to have arrived is said again, what was interrupted meanwhile is not, and it goes on from there."""
    async with stage.client() as client:
        await client.say_audio(b"file")
        session = await stage.session()
        bridge = await stage.bridge(session)
        await bridge.say_audio(b"1" * 480, item="i1")
        assert await client.hear_audio() == b"1" * 480
        await stage.arrived(session, await stage.newest(session))
    await stage.gone(session.keys.attach)
    await bridge.say_audio(b"2" * 480, item="i1", start_ms=10)
    await bridge.say_audio(b"3" * 480, response="r2", item="i2")
    await bridge.say(down.Interrupted("i2", 0, 5))
    await bridge.say_audio(b"4" * 480, response="r3", item="i3")
    async with stage.client() as client:
        assert await client.hear_audio() == b"2" * 480
        assert await client.hear_audio() == b"4" * 480
        assert await stage.session() == session
        await client.say_audio(b"more")
        entries = [message for _, message in await stage.up(session, 3)]
        assert isinstance(entries[2], up.File)
        assert entries[2].data == b"more"
        assert await stage.handed_out("bridge") == [session.sid]


async def test_a_redial_whose_old_socket_is_dead_takes_the_session(stage: Stage) -> None:
    """Its gateway has not noticed yet: the client there answers no ping within a second, and is told it was replaced."""
    async with stage.client() as old:
        await old.say_audio(b"file")
        session = await stage.session()
        await old.leave()  # it reads no more: no ping is answered
        async with stage.client() as new:
            await new.hear_nothing_more()
            await new.say_audio(b"more")
            assert len(await stage.up(session, 3)) == 3
            assert not await stage.redis.exists(keys.at("ann", "ann~1"))
            closed = await old.ws.receive(LIMIT_S)
            while closed.type is aiohttp.WSMsgType.TEXT:
                closed = await old.ws.receive(LIMIT_S)
            assert closed.data == 4409


@pytest.mark.usefixtures("nobody_is_dead")
async def test_the_session_left_last_is_resumed(stage: Stage) -> None:
    """Two phones of one name are gone: the redial is taken for the one that left last."""
    async with stage.client() as first:
        await first.say_audio(b"1")
        one = await stage.session("ann", "ann")
        async with stage.client() as second:
            await second.say_audio(b"2")
            two = await stage.session("ann", "ann~1")
            await first.ws.close()
            await stage.gone(one.keys.attach)
    await stage.gone(two.keys.attach)
    async with stage.client() as client:
        await client.say_audio(b"3")
        entries = [message for _, message in await stage.up(two, 3)]
        assert isinstance(entries[2], up.File)
        assert entries[2].data == b"3"


async def test_every_key_of_a_session_has_an_end(stage: Stage) -> None:
    """Whatever dies, nothing stays in Redis."""
    async with stage.client() as client:
        await client.say_audio(b"file")
        session = await stage.session()
        await stage.up(session, 2)
        await stage.bridge(session)
        for key in map(text, await stage.redis.keys("*")):
            if not key.startswith(("parley:dispatch:", keys.SESSIONS)):
                assert 0 < await stage.redis.pttl(key) <= keys.SESSION_TTL_MS, key


async def test_a_stopped_session_is_not_ended_again(stage: Stage) -> None:
    async with stage.client() as client:
        await client.say_audio(b"file")
        session = await stage.session()
        await stage.up(session, 2)
        bridge = await stage.bridge(session)
        await bridge.say(down.Ended("over"))
        assert (await client.hear_close())[0] == 1000
    await stage.up(session, 2)


async def _connect_with_small_buffers(stage: Stage) -> socket.socket:
    """A handshake by hand, on a socket that takes little before somebody reads."""
    loop = asyncio.get_running_loop()
    port = int(stage.url.rsplit(":", 1)[1])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    request = (
        "GET /ws-mobile/ann HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    assert b"101" in await loop.sock_recv(sock, 1024)
    return sock


@clients_are_cut_off_soon
async def test_a_client_that_does_not_read_is_cut_off(stage: Stage) -> None:
    """It costs a bounded buffer, then its connection; never its neighbour's time."""
    sock = await _connect_with_small_buffers(stage)
    try:
        session = await stage.session()
        bridge = await stage.bridge(session)
        async with stage.client("/ws-mobile/bob") as neighbour:
            with suppress(Over):  # nothing was said in this session: it ends with its connection, maybe before all is stored
                await bridge.say(*(down.Audio("r1", "i1", 0, 1000 * n, SECOND) for n in range(20)))
            for _ in range(20):
                await neighbour.hear_nothing_more()
            for key in (*session.keys.all, session.at):
                await stage.gone(key)
            await neighbour.hear_nothing_more()
        assert await stage.metric('parley_gateway_errors_total{code="slow_client",door="mobile"}') == 1
    finally:
        sock.close()


async def test_what_an_interruption_voids_is_not_sent_to_a_slow_client(stage: Stage) -> None:
    """It waits in Redis and in the outbox, not in the network."""
    sock = await _connect_with_small_buffers(stage)
    loop = asyncio.get_running_loop()
    try:
        bridge = await stage.bridge(await stage.session())
        for n in range(20):
            await bridge.say_audio(SECOND, start_ms=1000 * n)
        assert (await bridge.stop("i1"))["i1", 0] <= 1000, "no more than the second that was sent at once"
        await bridge.say(down.Interrupted("i1", 0, 0))
        await bridge.say_text("That was all.")
        await bridge.say_done()
        received = b""
        async with asyncio.timeout(LIMIT_S):
            while b"text_response" not in received:
                some = await loop.sock_recv(sock, 1 << 20)
                assert some, "it was cut off"
                received += some
    finally:
        sock.close()
    assert received.count(b"audio_response") < 20


ANYTHING = st.one_of(
    st.text(),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    ).map(json.dumps),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["audio", "config", "ping", "end", "", None])},
        optional={
            "audio": st.one_of(st.text().map("{}*".format), st.none(), st.integers()),  # never base64 by chance
            "audio_format": st.one_of(st.text(), st.integers()),
            "input_format": st.one_of(st.text(), st.integers()),
            "astrologer_id": st.integers(),
        },
    ).map(json.dumps),
)


async def test_no_text_at_all_closes_the_connection(stage: Stage) -> None:
    """Each of hundreds of malformed messages gets an error or a pong, in one connection."""
    messages: list[str] = []

    @settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck))
    @given(ANYTHING)
    def collect(message: str) -> None:
        messages.append(message)

    collect()
    assert len(messages) >= 100
    async with stage.client() as client:
        for message in messages:
            await client.ws.send_str(message)
            heard = await client.hear()
            assert heard["type"] in ("error", "pong", "config_ack"), (message, heard)
        await client.hear_nothing_more()


async def test_a_burst_is_answered_in_order(stage: Stage) -> None:
    async with stage.client() as client:
        for _ in range(2000):
            await client.ws.send_str("x")
        for _ in range(2000):
            assert (await client.hear())["type"] == "error"
        await client.hear_nothing_more()


async def test_without_redis_the_client_is_told_to_come_later(stage: Stage, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    try:
        async with stage.client() as client:
            heard = await client.hear()
            assert heard["type"] == "error"
            assert "later" in heard["error"]
            assert (await client.hear_close())[0] == 1013
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.keys("*") == []


async def test_the_old_call_says_where_to_go(stage: Stage) -> None:
    host = stage.url.removeprefix("http://")
    for headers, url in (
        ({}, f"ws://{host}/ws-mobile/{{user_id}}"),
        ({"Host": "voice.example"}, "ws://voice.example/ws-mobile/{user_id}"),
        ({"Host": "voice.example", "X-Forwarded-Proto": "https"}, "wss://voice.example/ws-mobile/{user_id}"),
    ):
        async with stage.http.post(f"{stage.url}/api/process-audio", headers=headers, data=b"old") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert await response.json() == {
                "success": False,
                "error": "Please use WebSocket connection for voice chat",
                "websocket_url": url,
            }


async def test_a_client_that_nobody_takes_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bridges are full, or there is none: a sentence instead of silence; what was said is kept."""
    monkeypatch.setattr("gateway.holding.NO_BRIDGE_S", 0.05)
    monkeypatch.setattr("gateway.keeper.ATTACH_RENEW_S", 0.05)
    async with stage.client() as client:
        await client.say_audio(b"file")
        heard = await client.hear()
        assert heard["type"] == "error"
        assert "free" in heard["error"]
        session = await stage.session()
        bridge = await stage.bridge(session)
        await bridge.say_text("here I am")
        await bridge.say_done()
        while heard["type"] == "error":
            heard = await client.hear()
        assert heard == {"type": "text_response", "text": "here I am"}
        await client.hear_nothing_more()
