"""The watch door, to the byte: what the shipped app sends, what it is told, and what becomes of its conversation."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from simulator.answers import Echo
from simulator.options import Options
from streams import down, pcm, turns
from streams.consumer import read
from streams.ids import EntryId
from streams.messages import End
from streams.sessions import Session, Sessions
from streams.turns import HistoryLine
from tests.contract.doors.openai_stage import system
from tests.contract.doors.stage import Bridge, Stage, clients_are_cut_off_soon
from tests.contract.doors.watch_app import LIMIT_S, Event, Raw, end, spoken, streaming, upload, uploading

TENTH = bytes(range(256)) * 18 + bytes(192)
"""4,800 bytes: a tenth of a second of PCM16 at 24 kHz"""


async def session_of(stage: Stage, conversation: str = "c1") -> Session:
    return await stage.session("anonymous", conversation)


async def audio_of(stage: Stage, session: Session, size: int) -> bytes:
    """What is in `pcm`, as soon as there is so much."""
    async with asyncio.timeout(LIMIT_S):
        while len(audio := await audio_now(stage, session)) < size:  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)
    return audio


async def audio_now(stage: Stage, session: Session) -> bytes:
    entries = await read(stage.redis, session.keys.pcm, pcm.decoder)
    return b"".join(entry.message.audio for entry in entries if isinstance(entry.message, pcm.Audio))


async def said_to(stage: Stage, session: Session, count: int) -> list[Any]:
    """The messages in `pcm` after its birth."""
    return [message for _, message in await stage.pcm(session, count + 1)][1:]


# ---- the stream -----------------------------------------------------------------------------------------------------


async def test_a_stream_begins_at_once(stage: Stage) -> None:
    """Before any worker knows of it; with the headers that keep proxies from holding it back."""
    async with streaming(stage.url) as stream:
        assert stream.answer.status == 200
        assert stream.answer.headers["content-type"].split(";")[0] == "text/event-stream"
        assert stream.answer.headers["cache-control"] == "no-cache"
        assert stream.answer.headers["x-accel-buffering"] == "no"
        assert stream.answer.headers["transfer-encoding"] == "chunked"
        assert await stream.hear() == Event("conversation_started", '{"conversationId":"c1"}')
        session = await session_of(stage)
        assert await stage.opened(session) == turns.Opened(user="anonymous", door="watch", turn_mode="server_vad")
        assert await stage.handed_out("bridge") == []


async def test_the_bytes_of_an_event_are_exact(stage: Stage) -> None:
    """LF alone, a name, one line of data, an empty line."""
    async with Raw.connected(stage.url) as raw:
        await raw.send_head("GET", "/realtime/stream?conversationId=c1")
        await raw.read_head()
        heard = b""
        while heard.count(b"\n\n") < 2:
            heard += await raw.read_chunk()
    assert heard == b': ok\n\nevent: conversation_started\ndata: {"conversationId":"c1"}\n\n'


async def test_a_stream_tells_what_the_session_says(stage: Stage) -> None:
    """Every event of the contract, in order, each with the id of its entry."""
    async with streaming(stage.url) as stream:
        await stream.hear()
        session = await session_of(stage)
        bridge = await stage.bridge(session)
        await bridge.say_event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        await bridge.say_event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
        await bridge.say_event("conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello?")
        await bridge.say_event("response.created", response={"id": "r1"})
        await bridge.say_event("response.output_audio_transcript.delta", response_id="r1", delta="Good")
        await bridge.say_audio(TENTH)
        await bridge.say_event("response.output_text.delta", response_id="r1", delta="day")
        await bridge.say_audio(TENTH[::-1], start_ms=100)
        await bridge.say_text("Good day")
        await bridge.say_event("response.output_text.done", response_id="r1", text="Good day, written")
        await bridge.say_done()
        heard = await stream.until("response_complete")  # what waits to be sent would be void
        await bridge.say(down.Interrupted("i1", 0, 120))
        await bridge.say(down.Reconnecting(), down.Resumed())
        await bridge.say(down.Failed("x", "Something\nis wrong."))
        await bridge.say(down.Notice("usage_limit", "That was all.", final=True))
        await bridge.say(down.Ended("client_ended"))
        heard += await stream.until("conversation_ended")
        await stream.hear_end()
    assert [(event.name, event.data) for event in heard] == [
        ("speech_started", "{}"),
        ("speech_stopped", "{}"),
        ("user_transcript", "Hello?"),
        ("transcript_delta", "Good"),
        ("audio_response", base64.b64encode(TENTH).decode()),
        ("transcript_delta", "day"),
        ("audio_response", base64.b64encode(TENTH[::-1]).decode()),
        ("transcript_complete", "Good day"),
        ("transcript_complete", "Good day, written"),
        ("response_complete", "{}"),
        ("interrupted", '{"item":"i1","at_ms":120}'),
        ("reconnecting", "{}"),
        ("resumed", "{}"),
        ("error", "Something is wrong."),
        ("error", "That was all."),
        ("conversation_ended", "{}"),
    ]
    ids = [event.id.split("/") for event in heard[:-1] if event.id is not None]
    assert len(ids) == len(heard) - 1
    assert {sid for sid, _ in ids} == {session.sid}
    numbers = [int(did.split("-")[1]) for _, did in ids]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\ntwo", "one two"),
        ("one\r\ntwo", "one two"),
        ("one\rtwo", "one two"),
        ("one\n\nevent: conversation_ended\ndata: {}\n\n", "one  event: conversation_ended data: {}"),
        ("\u2028 and \u2029 and \x85 stay", "\u2028 and \u2029 and \x85 stay"),
        ("Größe 🎤", "Größe 🎤"),
    ],
)
async def test_no_text_breaks_the_framing(stage: Stage, text: str, line: str) -> None:
    async with streaming(stage.url) as stream:
        await stream.hear()
        bridge = await stage.bridge(await session_of(stage))
        await bridge.say_event("response.output_audio_transcript.delta", response_id="r1", delta=text)
        await bridge.say_text(text)
        await bridge.say(down.Failed("x", text))
        heard = [await stream.hear() for _ in range(3)]
    assert [event.name for event in heard] == ["transcript_delta", "transcript_complete", "error"]
    assert {event.data for event in heard} == {line}


async def test_a_response_that_failed_says_why(stage: Stage) -> None:
    """One that only calls tools says nothing: another follows."""
    async with streaming(stage.url) as stream:
        await stream.hear()
        bridge = await stage.bridge(await session_of(stage))
        await bridge.say_event("response.done", response={"id": "r0", "output": [{"type": "function_call"}]})
        await bridge.say_done(status="failed", details={"error": {"message": "too many of you"}})
        heard = await stream.until("response_complete")
    assert [(event.name, event.data) for event in heard] == [
        ("error", "The model could not answer: too many of you"),
        ("response_complete", "{}"),
    ]


async def test_an_event_that_cannot_be_read_is_passed_over(stage: Stage) -> None:
    async with streaming(stage.url) as stream:
        await stream.hear()
        bridge = await stage.bridge(await session_of(stage))
        await bridge.say_event("response.done", response=7)
        await bridge.say_event("response.output_audio_transcript.delta", delta=None)
        await bridge.say_done()
        assert (await stream.hear()).name == "response_complete"


@pytest.mark.parametrize(
    "query", ["", "conversationId=", "conversationId=%20", "conversationId=" + "c" * 257, "conversationid=c1"]
)
@pytest.mark.parametrize("way", ["stream", "upload", "end"])
async def test_a_request_names_its_conversation(stage: Stage, query: str, way: str) -> None:
    async with Raw.connected(stage.url) as raw:
        await raw.send_head("GET" if way == "stream" else "POST", f"/realtime/{way}?{query}", Content_Length="0")
        answer = await raw.read_answer()
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert "conversationId" in answer.json["error"]


# ---- history --------------------------------------------------------------------------------------------------------

LINES = [{"role": "user", "content": "Größe? >>>???"}, {"role": "assistant", "content": "Ja: ~~~ ÿÿÿ"}]


def as_in_the_field(told: object) -> str:
    """Base64 that nobody percent-encodes."""
    return base64.b64encode(json.dumps(told, ensure_ascii=False).encode()).decode()


HISTORY = {
    "as it is, not percent-encoded": as_in_the_field(LINES),
    "without padding": as_in_the_field(LINES).rstrip("="),
    "percent-encoded": as_in_the_field(LINES).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "the other alphabet": as_in_the_field(LINES).replace("+", "-").replace("/", "_"),
    "both alphabets": as_in_the_field(LINES).replace("+", "-"),
}


@pytest.mark.parametrize("name", HISTORY)
async def test_what_was_said_before_gets_through(stage: Stage, name: str) -> None:
    history = HISTORY[name]
    assert "+" in as_in_the_field(LINES)
    assert "/" in as_in_the_field(LINES)
    async with streaming(stage.url, f"token=x&conversationId=c1&history={history}") as stream:
        assert (await stream.hear()).name == "conversation_started"
        opened = await stage.opened(await session_of(stage))
    assert isinstance(opened, turns.Opened)
    assert opened.history == tuple(HistoryLine(line["role"], line["content"]) for line in LINES)  # type: ignore[arg-type]


async def test_the_last_ten_lines_count_and_they_may_be_long(stage: Stage) -> None:
    told = [{"role": "user", "content": f"{n} " + "long " * 500} for n in range(15)]
    async with streaming(stage.url, f"conversationId=c1&history={as_in_the_field(told)}"):
        opened = await stage.opened(await session_of(stage))
    assert isinstance(opened, turns.Opened)
    assert [line.content for line in opened.history] == [line["content"] for line in told[5:]]


BAD_HISTORY: dict[str, tuple[str, int]] = {
    "no base64": ("*!", 0),
    "one letter": ("A", 0),
    "no JSON": (base64.b64encode(b"[{").decode(), 0),
    "no UTF-8": (base64.b64encode(b'[{"role":"user","content":"\xff"}]').decode(), 0),
    "an object": (as_in_the_field({"role": "user", "content": "x"}), 0),
    "a number": (as_in_the_field(1), 0),
    "a bottomless list": (base64.b64encode(b"[" * 20_000).decode(), 0),
    "lines that are none": (
        as_in_the_field([1, None, {}, {"role": "system", "content": "x"}, {"role": "user", "content": 1}]),
        0,
    ),
    "one good line among them": (as_in_the_field([{"role": "user"}, {"role": "user", "content": "x"}, []]), 1),
    "a half surrogate": (base64.b64encode(b'[{"role":"user","content":"\\ud800"}]').decode(), 0),
}


@pytest.mark.parametrize("name", BAD_HISTORY)
async def test_history_that_cannot_be_read_kills_no_stream(stage: Stage, name: str) -> None:
    history, lines = BAD_HISTORY[name]
    async with streaming(stage.url, f"conversationId=c1&history={history}") as stream:
        assert (await stream.hear()).name == "conversation_started"
        opened = await stage.opened(await session_of(stage))
        assert isinstance(opened, turns.Opened)
        assert len(opened.history) == lines


# ---- the upload -----------------------------------------------------------------------------------------------------


async def test_audio_moves_on_while_the_body_arrives(stage: Stage) -> None:
    """In the middle of a sample, too; the body never ends here."""
    async with streaming(stage.url), uploading(stage.url) as body:
        session = await session_of(stage)
        await body.send_chunk(TENTH[:4095])
        assert await audio_of(stage, session, 4094) == TENTH[:4094]
        await body.send_chunk(TENTH[4095:4096])
        assert await audio_of(stage, session, 4096) == TENTH[:4096]
        assert await stage.handed_out("bridge") == [session.sid]


@pytest.mark.parametrize("size", [1, 2, 3, 4096, 4801])
async def test_any_split_is_the_same_audio(stage: Stage, size: int) -> None:
    """The half sample at the very end is dropped. `OK` means that all is stored."""
    data = TENTH[:960] + b"\x7f" if size < 4 else TENTH * 20 + b"\x7f"
    async with streaming(stage.url):
        session = await session_of(stage)
        answer = await upload(stage.url, *(data[at : at + size] for at in range(0, len(data), size)))
        assert (answer.status, answer.body) == (200, b"OK")
        assert answer.headers["content-type"].split(";")[0] == "text/plain"
        assert await audio_now(stage, session) == data[:-1]


async def test_uploads_follow_each_other(stage: Stage) -> None:
    """Each with a half sample of its own that is dropped."""
    async with streaming(stage.url):
        session = await session_of(stage)
        for piece in (b"\1\2\3", b"\4\5", b"", b"\6\7\x08\x09\x0a"):
            assert (await upload(stage.url, *([piece] if piece else []))).status == 200
        assert await audio_of(stage, session, 8) == b"\1\2\4\5\6\7\x08\x09"
        assert await stage.handed_out("bridge") == [session.sid]


async def test_a_body_whose_client_is_gone_holds_up_nobody(stage: Stage) -> None:
    async with streaming(stage.url), uploading(stage.url) as zombie:
        session = await session_of(stage)
        await zombie.send_chunk(b"\1\2\3")
        assert await audio_of(stage, session, 2) == b"\1\2"
        assert (await upload(stage.url, b"\4\5")).status == 200
        assert await audio_of(stage, session, 4) == b"\1\2\4\5"


async def test_an_upload_that_is_cut_off_has_been_heard(stage: Stage) -> None:
    async with streaming(stage.url), uploading(stage.url) as body:
        session = await session_of(stage)
        await body.send_chunk(TENTH)
        await audio_of(stage, session, len(TENTH))
        body.cut()
        assert (await upload(stage.url, TENTH)).status == 200
        assert await audio_of(stage, session, 2 * len(TENTH)) == TENTH * 2


async def test_an_empty_upload_ends_nothing(stage: Stage) -> None:
    async with streaming(stage.url) as stream:
        await stream.hear()
        assert (await upload(stage.url)).body == b"OK"
        assert (await upload(stage.url, b"\1")).body == b"OK"
        assert await stage.handed_out("bridge") == []
        bridge = await stage.bridge(await session_of(stage))
        await bridge.say_done()
        assert (await stream.hear()).name == "response_complete"


async def test_an_upload_waits_for_its_stream(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.watch.WAIT_FOR_STREAM_S", LIMIT_S)
    async with uploading(stage.url) as body:
        await body.send_chunk(TENTH)
        async with streaming(stage.url):
            await body.send(b"0\r\n\r\n")
            assert (await body.read_answer()).body == b"OK"
            assert await audio_of(stage, await session_of(stage), len(TENTH)) == TENTH


async def test_an_upload_without_a_conversation_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.watch.WAIT_FOR_STREAM_S", 0.1)
    answer = await upload(stage.url, TENTH)
    assert answer.status == 400
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert answer.json == {"error": "No active conversation session"}


async def test_an_upload_into_a_conversation_that_ends_is_told(stage: Stage) -> None:
    """While its body is still arriving."""
    async with streaming(stage.url), uploading(stage.url) as body:
        session = await session_of(stage)
        await body.send_chunk(TENTH)
        await audio_of(stage, session, len(TENTH))
        await Sessions(stage.redis).end(session)
        await body.send_chunk(TENTH)
        answer = await body.read_answer()
        assert (answer.status, answer.json) == (400, {"error": "No active conversation session"})


async def test_a_body_with_an_encoding_is_refused(stage: Stage) -> None:
    async with streaming(stage.url), uploading(stage.url, Content_Encoding="gzip") as body:
        assert (await body.read_answer()).status == 415


async def test_without_redis_nothing_is_dropped_in_silence(stage: Stage, redis: Redis) -> None:
    """503, and when to come back."""
    await redis.config_set("maxmemory", "1")
    try:
        async with streaming(stage.url) as stream:
            assert stream.answer.status == 503
            assert stream.answer.headers["retry-after"] == "1"
            assert "try again" in json.loads(stream.answer.body)["error"]
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.keys("*") == []


async def test_a_body_that_redis_cannot_take_is_not_read(stage: Stage, redis: Redis) -> None:
    """Nothing is dropped, nothing piles up, and it goes on when Redis does."""
    total = 4 << 20
    async with streaming(stage.url), uploading(stage.url) as body:
        session = await session_of(stage)
        await body.send_chunk(TENTH)
        await audio_of(stage, session, len(TENTH))
        body._writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        await redis.config_set("maxmemory", "1")
        sending = asyncio.create_task(send_much(body, total))
        stuck = await _stands_still(body)
        await redis.config_set("maxmemory", "0")
        assert stuck > 0, "the client has to wait"
        await sending
        assert (await body.read_answer()).body == b"OK"
        assert len(await audio_of(stage, session, total + len(TENTH))) == total + len(TENTH)


async def send_much(body: Raw, total: int) -> None:
    for _ in range(total // 4096):
        await body.send_chunk(bytes(4096))
    await body.send(b"0\r\n\r\n")


async def _stands_still(body: Raw) -> int:
    """How much waits in the client when nothing moves any more."""
    before, since = -1, 0
    while since < 10:
        await asyncio.sleep(0.02)
        now = body._writer.transport.get_write_buffer_size()
        before, since = now, since + 1 if now == before and now else 0
    return before


# ---- the end --------------------------------------------------------------------------------------------------------


async def test_an_end_lets_the_model_answer(stage: Stage) -> None:
    """All of the answer, then the goodbye, then the end of the stream. It may be asked for again, also afterwards."""
    async with streaming(stage.url) as stream:
        await upload(stage.url, TENTH)
        session = await session_of(stage)
        bridge = await stage.bridge(session)
        for _ in range(2):
            answer = await end(stage.url)
            assert (answer.status, answer.body) == (200, b'{"success":true}')
            assert answer.headers["content-type"].split(";")[0] == "application/json"
        assert (await said_to(stage, session, 3))[1:] == [End("client_ended", after_answer=True)] * 2
        for n in range(50):
            await bridge.say_audio(TENTH, start_ms=100 * n)
        await bridge.say_done()
        await bridge.say(down.Ended("client_ended"))
        heard = await stream.until("conversation_ended")
        await stream.hear_end()
        assert [event.name for event in heard[-2:]] == ["response_complete", "conversation_ended"]
        assert spoken(heard) == TENTH * 50
    await Sessions(stage.redis).end(session)
    assert (await end(stage.url)).json == {"success": True}


async def test_a_conversation_in_which_nothing_was_said_ends_at_once(stage: Stage) -> None:
    async with streaming(stage.url) as stream:
        session = await session_of(stage)
        assert (await end(stage.url)).json == {"success": True}
        assert [event.name for event in await stream.until("conversation_ended")] == [
            "conversation_started",
            "conversation_ended",
        ]
        await stream.hear_end()
    assert not await stage.redis.exists(session.keys.down)
    assert await stage.handed_out("bridge") == []


async def test_there_may_be_nothing_to_end(stage: Stage) -> None:
    assert (await end(stage.url)).json == {"success": True}


# ---- redials --------------------------------------------------------------------------------------------------------


async def heard_three(stage: Stage) -> tuple[Bridge, list[Event]]:
    """A stream that has heard three pieces of an answer, and was cut off."""
    async with streaming(stage.url) as stream:
        await upload(stage.url, TENTH)
        bridge = await stage.bridge(await session_of(stage))
        for n in range(3):
            await bridge.say_audio(bytes([n]) * 480, start_ms=10 * n)
        heard = [await stream.hear() for _ in range(4)][1:]
        await stage.arrived(await session_of(stage), EntryId.parse((heard[-1].id or "").split("/")[1]))
        stream.raw.cut()
    return bridge, heard


async def test_a_redial_with_its_last_event_goes_on_behind_it(stage: Stage) -> None:
    """Exactly, however much more had reached the client's machine."""
    bridge, heard = await heard_three(stage)
    await bridge.say_audio(bytes([3]) * 480, start_ms=30)
    assert heard[0].id is not None
    async with streaming(stage.url, Last_Event_ID=heard[0].id) as stream:
        assert (await stream.hear()).name == "conversation_started"
        again = [await stream.hear() for _ in range(3)]
    assert spoken(again) == b"".join(bytes([n]) * 480 for n in (1, 2, 3))
    assert [event.id for event in again[:2]] == [event.id for event in heard[1:]]


async def test_a_redial_goes_on_behind_what_has_arrived(stage: Stage) -> None:
    """Its history does not count any more."""
    bridge, _ = await heard_three(stage)
    session = await session_of(stage)
    await stage.detached(session)
    await bridge.say_audio(bytes([3]) * 480, start_ms=30)
    async with streaming(stage.url, f"conversationId=c1&history={as_in_the_field(LINES)}") as stream:
        assert (await stream.hear()).name == "conversation_started"
        assert spoken([await stream.hear()]) == bytes([3]) * 480
    opened, *_ = await read(stage.redis, session.keys.turns, turns.decoder)
    assert opened.message == turns.Opened(user="anonymous", door="watch", turn_mode="server_vad")


async def test_what_was_interrupted_meanwhile_is_not_said_again(stage: Stage) -> None:
    bridge, heard = await heard_three(stage)
    await bridge.say(down.Interrupted("i1", 0, 10))
    assert heard[0].id is not None
    async with streaming(stage.url, Last_Event_ID=heard[0].id) as stream:
        assert [(await stream.hear()).name for _ in range(2)] == ["conversation_started", "interrupted"]


async def test_what_is_gone_is_announced(stage: Stage) -> None:
    bridge, heard = await heard_three(stage)
    session = await session_of(stage)
    await stage.redis.xtrim(session.keys.down, maxlen=1, approximate=False)
    await bridge.say_done()
    assert heard[0].id is not None
    async with streaming(stage.url, Last_Event_ID=heard[0].id) as stream:
        assert (await stream.hear()).name == "conversation_started"
        resync = await stream.hear()
        assert resync.name == "resync"
        assert json.loads(resync.data) == {"after": heard[0].id.split("/")[1], "from": (heard[2].id or "").split("/")[1]}
        assert spoken([await stream.hear()]) == bytes([2]) * 480
        assert (await stream.hear()).name == "response_complete"


@pytest.mark.parametrize("how", ["over", "of another session", "without a session"])
async def test_who_redials_an_ended_conversation_is_told_to_stop(stage: Stage, how: str) -> None:
    """204: an EventSource dials no more. A name that is used again is another session's."""
    _, heard = await heard_three(stage)
    await Sessions(stage.redis).end(await session_of(stage))
    last = heard[0].id or ""
    async with AsyncExitStack() as stack:
        if how == "of another session":
            other = await stack.enter_async_context(streaming(stage.url))
            await other.hear()
        stream = await stack.enter_async_context(
            streaming(stage.url, Last_Event_ID=last.split("/")[1] if how == "without a session" else last)
        )
        assert stream.answer.status == 204


@pytest.mark.parametrize("last", ["x", "1-", "-1", "9" * 400 + "-1", "1-1-1", "１-１"])
async def test_a_last_event_that_is_none_is_passed_over(stage: Stage, last: str) -> None:
    async with streaming(stage.url, Last_Event_ID=last) as stream:
        assert stream.answer.status == 200
        assert (await stream.hear()).name == "conversation_started"


async def test_the_newest_stream_has_the_conversation(stage: Stage) -> None:
    async with streaming(stage.url) as older:
        await older.hear()
        session = await session_of(stage)
        async with streaming(stage.url) as newer:
            await newer.hear()
            last = await older.hear()
            assert (last.name, last.data) == ("error", "This session goes on over a newer connection.")
            await older.hear_end()
            bridge = await stage.bridge(session)
            await bridge.say_done()
            assert (await newer.hear()).name == "response_complete"


async def test_of_two_event_sources_one_gives_up(stage: Stage) -> None:
    """Each dials again by itself, with the last id that it has heard, after everything but 204: the older one gets that, and
    takes nothing from the newer one."""
    async with streaming(stage.url) as older:
        await older.hear()
        session = await session_of(stage)
        async with streaming(stage.url) as newer:
            await newer.hear()
            last = await older.hear()
            assert last.id
            await older.hear_end()
            async with streaming(stage.url, Last_Event_ID=last.id) as again:
                assert again.answer.status == 204
            bridge = await stage.bridge(session)
            await bridge.say_done()
            assert (await newer.hear()).name == "response_complete"


async def test_a_stream_that_nobody_spoke_in_leaves_nothing_behind(stage: Stage) -> None:
    async with streaming(stage.url) as stream:
        await stream.hear()
        session = await session_of(stage)
    for key in (*session.keys.all, session.at):
        await stage.gone(key)


SLOW = 'parley_gateway_errors_total{code="slow_client",door="watch"}'


@clients_are_cut_off_soon
async def test_a_client_that_does_not_read_is_cut_off(stage: Stage) -> None:
    """It costs a bounded buffer, then its connection."""
    async with streaming(stage.url):
        assert (await upload(stage.url, TENTH)).status == 200
        bridge = await stage.bridge(await session_of(stage))
        for n in range(400):
            await bridge.say_audio(TENTH, start_ms=100 * n)
        async with asyncio.timeout(LIMIT_S):
            while not await stage.metric(SLOW):  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.02)


async def test_a_gateway_that_stops_says_so(settings: GatewaySettings, redis: Redis) -> None:
    """To the stream and to the body, of which nothing is lost."""
    async with AsyncExitStack() as clients:
        async with serving(settings) as url:
            stream = await clients.enter_async_context(streaming(url))
            await stream.hear()
            body = await clients.enter_async_context(uploading(url))
            await body.send_chunk(TENTH)
            session = await Sessions(redis).find("anonymous", "c1")
            assert session is not None
            while not await redis.xlen(session.keys.pcm) > 1:  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.005)
        assert await stream.hear() == Event("error", "This server restarts. Please connect again.")
        await stream.hear_end()
        answer = await body.read_answer()
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert await redis.exists(session.keys.down)


async def test_whose_speech_nobody_takes_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.holding.NO_BRIDGE_S", 0.05)
    monkeypatch.setattr("gateway.keeper.ATTACH_RENEW_S", 0.05)
    async with streaming(stage.url) as stream:
        await stream.hear()
        await upload(stage.url, TENTH)
        heard = await stream.hear()
        assert heard.name == "error"
        assert "Nobody is free" in heard.data


# ---- who may come in ------------------------------------------------------------------------------------------------

SECRET = "s" * 32


def token(user: str = "ann", kind: str = "device", lasts_s: int = 60, secret: str = SECRET) -> str:
    now = int(time.time())
    claims = {"deviceId": "d1", "userId": user, "type": kind, "iat": now, "exp": now + lasts_s}
    return jwt.encode(claims, secret, algorithm="HS256")


@pytest.fixture
async def strict(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[str]:
    """A gateway that asks for tokens."""
    async with serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url, JWT_SECRET=SECRET)) as url:
        yield url


@pytest.mark.parametrize("way", ["stream", "upload", "end"])
async def test_who_shows_no_valid_token_is_refused(strict: str, way: str) -> None:
    """With the contract's own words, in JSON."""
    method = "GET" if way == "stream" else "POST"
    for shown, sentence in (
        ("", "Authentication required"),
        (token(kind="user"), "Invalid token type"),
        (token(lasts_s=-1000), "Invalid token"),
        (token(secret="t" * 32), "Invalid token"),
        ("x", "Invalid token"),
    ):
        async with Raw.connected(strict) as raw:
            await raw.send_head(method, f"/realtime/{way}?token={shown}&conversationId=c1", Content_Length="0")
            answer = await raw.read_answer()
        assert (answer.status, answer.json) == (401, {"error": sentence})


async def test_a_conversation_belongs_to_its_user(strict: str, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `?token=` or by header; for another user there is none of this name."""
    monkeypatch.setattr("gateway.doors.watch.WAIT_FOR_STREAM_S", 0.1)
    async with streaming(strict, f"token={token()}&conversationId=c1") as stream:
        await stream.hear()
        assert (await upload(strict, TENTH, query=f"token={token()}&conversationId=c1")).status == 200
        theirs = f"token={token('bob')}&conversationId=c1"
        assert (await upload(strict, TENTH, query=theirs)).json == {"error": "No active conversation session"}
        assert (await end(strict, theirs)).json == {"success": True}
        session = await Sessions(redis).find("ann", "c1")
        assert session is not None
        assert [type(entry.message) for entry in await read(redis, session.keys.pcm, pcm.decoder)][1:] == [pcm.Audio]
        async with uploading(strict, Authorization=f"Bearer {token()}") as body:
            await body.send(b"0\r\n\r\n")
            assert (await body.read_answer()).body == b"OK"


# ---- everything at once ---------------------------------------------------------------------------------------------


async def test_a_spoken_turn_over_two_gateways(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Stream, upload and end each at another one; what was said comes back, whole, before the goodbye."""
    said = b"".join(int(9000 * math.sin(n * n / 20_000)).to_bytes(2, "little", signed=True) for n in range(12_000))
    options = Options(answer=Echo(live=False), speed=0, record_s=60)
    async with system(redis_server, options, gateways=2) as parley, streaming(parley.urls[0]) as stream:
        await stream.hear()
        pieces = [said[at : at + 4095] for at in range(0, len(said), 4095)]
        assert (await upload(parley.urls[1], *pieces)).body == b"OK"
        assert (await end(parley.urls[1])).json == {"success": True}
        heard = await stream.until("conversation_ended")
        await stream.hear_end()
        (model,) = parley.simulator.sessions
        assert bytes(model.recording.appended).startswith(said), "then comes the silence by which its end is found"
    names = [event.name for event in heard]
    assert spoken(heard).startswith(said)
    assert names[-2:] == ["response_complete", "conversation_ended"]
    deltas = "".join(event.data for event in heard if event.name == "transcript_delta")
    (complete,) = [event.data for event in heard if event.name == "transcript_complete"]
    assert deltas.replace(" ", "") == complete.replace(" ", "")


ANY_QUERY = st.lists(
    st.tuples(
        st.sampled_from(["conversationId", "history", "token", "x", "%FF", ""]),
        st.one_of(
            st.text(alphabet="AZaz09+/=-_%&?. ;é", max_size=40),
            st.sampled_from(["c1", "%FF", "%00", "%ED%A0%80", "*", "W10", "W10=", "e30"]),
        ),
    ),
    max_size=4,
)


async def test_no_address_at_all_hurts(stage: Stage) -> None:
    """Each of hundreds is answered, by the stream or by a sentence; the next one works."""
    queries: list[str] = []

    @settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck))
    @given(ANY_QUERY)
    def collect(query: list[tuple[str, str]]) -> None:
        queries.append("&".join(f"{name}={value}" for name, value in query).replace(" ", "+"))

    collect()
    assert len(queries) >= 100
    for number, query in enumerate(queries):
        headers = {"Last_Event_ID": query} if number % 3 == 0 and query.isascii() else {}
        async with streaming(stage.url, query, **headers) as stream:
            assert stream.answer.status in (200, 204, 400), query
            if stream.answer.status == 200:
                assert (await stream.hear()).name == "conversation_started"
    async with streaming(stage.url) as stream:
        assert (await stream.hear()).data == '{"conversationId":"c1"}'
    async with asyncio.timeout(LIMIT_S):
        while await stage.metric('parley_gateway_connections{door="watch"}'):  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)
