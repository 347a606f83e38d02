"""The app's own backend: what it reads of sessions, how it acts on one that lasts, and what it has forgotten."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pybase64
import pytest
from redis.asyncio import Redis

from cli.token import mint
from gateway import commands
from gateway.app import serving
from gateway.backend import open_backend
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from simulator.answers import Fixed, Speech, words
from simulator.options import Options
from streams import keys, pcm, turns, up
from streams.bus import Bus, Listener
from streams.consumer import read
from streams.keys import SESSION_TTL_MS, SessionKeys
from streams.messages import Text
from streams.producer import Marked, Producer
from streams.sessions import Sessions, now_ms
from streams.usage import day_of
from tests.contract.doors.api_stage import (
    KEY,
    OTHER_KEY,
    TOKENS,
    Api,
    Parley,
    audio,
    has_ended,
    parley,
    parley_with_transcoder,
    said,
)
from tests.contract.doors.openai_stage import LIMIT_S, Object, Talker
from tests.media.make_media import make_clip

FAST = Options(speed=0, transcription_delay_s=0, answer=Fixed(Speech("Good evening.", bytes(range(48)) * 500)))
"""Half a second of sound: at most doors it is sent as it is played, and an end waits for that."""


async def speaks(client: Talker, ms: int = 500) -> str:
    """Say something in a session of a client of the openai door, and hear the answer; the session's id."""
    created = await client.hear()
    await client.say("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    await client.say("input_audio_buffer.append", audio=audio(ms))
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")
    await client.until("response.done")
    return str(created["session"]["id"]).removeprefix("sess_")


async def closes(client: Talker) -> int:
    """The code of the close, whatever is said before."""
    while (message := await client.ws.receive(LIMIT_S)).type is not aiohttp.WSMsgType.CLOSE:
        assert message.type is aiohttp.WSMsgType.TEXT, message
    return int(message.data)


async def named_in(redis: Redis, what: str) -> list[str]:
    """The keys that name it, in their name or in their value."""
    found = []
    async for key in redis.scan_iter(count=1000):
        kind, name = await redis.type(key), key.decode()
        match kind:
            case b"string":
                value = repr(await redis.get(key))
            case b"hash":
                value = repr(await redis.hgetall(key))
            case b"zset":
                value = repr(await redis.zrange(key, 0, -1))
            case b"stream":
                value = repr(await redis.xrange(key))
            case _:
                assert kind == b"none", (kind, key)  # gone meanwhile
                continue
        if what in name or what in value:
            found.append(name)
    return found


# ---- who may ---------------------------------------------------------------------------------------------------------

ASKS = [
    ("GET", "/v1/sessions?user=ann"),
    ("GET", "/v1/sessions/s1"),
    ("DELETE", "/v1/sessions/s1"),
    ("DELETE", "/v1/users/ann"),
    ("POST", "/v1/sessions/s1/text"),
    ("POST", "/v1/sessions/s1/instructions"),
    ("POST", "/v1/sessions/s1/end"),
]


@pytest.mark.parametrize(("method", "path"), ASKS)
async def test_nobody_comes_in_without_a_key(redis_server: EmbeddedServer, redis: Redis, method: str, path: str) -> None:
    async with parley(redis_server, FAST, tokens=True) as whole:
        for shown in (None, "wrong", KEY[:-1], KEY + "x", f"{KEY} {OTHER_KEY}"):
            answer = await whole.api.ask(method, path, {}, key=shown)
            assert answer.status == 401, (shown, answer)
            assert answer.body["error"]
        for shown in (KEY, OTHER_KEY):
            assert (await whole.api.ask(method, path, {}, key=shown)).status not in (401, 403)


@pytest.mark.parametrize(("method", "path"), ASKS)
async def test_without_keys_there_is_no_such_api(redis_server: EmbeddedServer, redis: Redis, method: str, path: str) -> None:
    """It says who turns it on; and an empty key is none."""
    async with parley(redis_server, FAST) as whole, serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url:
        api = Api(whole.http, [url])
        for shown in (None, "", KEY):
            answer = await api.ask(method, path, {}, key=shown, headers={"Authorization": "Bearer "} if shown == "" else {})
            assert answer.status == 404
            assert "PARLEY_API_KEYS" in answer.body["error"]


def test_a_key_that_could_be_guessed_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="openssl rand -hex 32"):
        GatewaySettings(PARLEY_API_KEYS=f"{KEY} short")


async def test_a_client_reads_and_forgets_its_own_session_and_no_other(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST, tokens=True) as whole:
        ann, bob = (mint(TOKENS, user, "phone", time.time(), 60) for user in ("ann", "bob"))
        async with whole.talker(f"?model=any&token={ann}") as client:
            sid = await speaks(client)
            path = f"/v1/sessions/{sid}"
            mine = await whole.api.ask("GET", path, key=ann)
            assert (mine.status, mine.body["user"]) == (200, "ann")
            theirs = await whole.api.ask("GET", path, key=bob)
            assert theirs == await whole.api.ask("GET", "/v1/sessions/nosuch", key=bob)
            assert theirs.status == 404
            assert (await whole.api.ask("DELETE", path, key=bob)).status == 404
            for method, other in (("POST", f"{path}/text"), ("POST", f"{path}/end"), ("GET", "/v1/sessions?user=ann")):
                assert (await whole.api.ask(method, other, {"text": "x"}, key=ann)).status == 403
            assert (await whole.api.ask("DELETE", "/v1/users/ann", key=ann)).status == 403
            assert (await whole.api.ask("DELETE", path, key=ann)).status == 200
            assert await closes(client) == 1000
            assert (await whole.api.ask("GET", path, key=ann)).status == 404


# ---- the transcript --------------------------------------------------------------------------------------------------


async def test_a_session_is_told_while_it_lasts_and_kept_when_it_has_ended(
    redis_server: EmbeddedServer, redis: Redis
) -> None:
    """The same document over the API and by the webhook, signed."""
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
            live = await whole.api.document(
                sid, lambda document: len(document["turns"]) == 2 and document["turns"][0].get("text")
            )
            assert said(live) == [("user", live["turns"][0]["text"]), ("assistant", "Good evening.")]
            assert live["status"] == "live"
            assert (await whole.api.ask("GET", f"/v1/sessions/sess_{sid}")).body == live
            assert [line["id"] for line in (await whole.api.ask("GET", "/v1/sessions?user=anonymous")).body["sessions"]] == [
                sid
            ]
        ended = await whole.api.document(sid, has_ended)
        later = {name: ended[name] for name in ("reason", "ended_ms", "timings", "usage", "usd")}
        assert ended == {**live, "status": "ended", **later}
        assert (ended["usage"]["responses"], ended["usage"]["transcriptions"]) == (1, 1)
        assert ended["reason"] == "client_left"
        assert live["opened_ms"] <= ended["ended_ms"] <= time.time() * 1000
        assert 3_500_000 < await redis.pttl(SessionKeys(sid).kept) <= 3_600_000
        (line,) = (await whole.api.ask("GET", "/v1/sessions?user=anonymous")).body["sessions"]
        assert line == {
            key: value for key, value in ended.items() if key not in ("turns", "persona", "timings", "usage", "usd")
        }
        (told,) = await whole.backend.hears(1)
        assert told.event["type"] == "session.ended"
        assert told.event["data"] == ended
        assert told.headers["content-type"] == "application/json"


async def test_an_answer_that_was_interrupted_is_told_as_such(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Here by a client that knows what it has played."""
    async with parley(redis_server, replace(FAST, answer=words("A long story, told slowly."))) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
            (item,) = {event["item_id"] for event in client.log if event["type"] == "response.output_audio.delta"}
            await client.say("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
            await client.until("conversation.item.truncated")
        ended = await whole.api.document(sid, has_ended)
        answer = ended["turns"][-1]
        assert (answer["role"], answer["heard_ms"], answer["interrupted"]) == ("assistant", 100, True)


async def test_with_nothing_kept_only_the_webhook_has_it(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST, keep_s=0) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
        (told,) = await whole.backend.hears(1)
        assert told.event["data"]["id"] == sid
        async with asyncio.timeout(LIMIT_S):
            while await redis.exists(SessionKeys(sid).marks, SessionKeys(sid).webhook):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await whole.api.ask("GET", f"/v1/sessions/{sid}")).status == 404
        assert (await whole.api.ask("GET", "/v1/sessions?user=anonymous")).body == {"sessions": []}
        assert not await redis.exists(SessionKeys(sid).kept, keys.sessions_of("anonymous"))


async def test_a_session_in_which_nothing_was_said_leaves_nothing(redis_server: EmbeddedServer, redis: Redis) -> None:
    """It can be looked at while it lasts."""
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = (await client.hear())["session"]["id"].removeprefix("sess_")
            assert (await whole.api.document(sid))["turns"] == []
        async with asyncio.timeout(LIMIT_S):
            while await named_in(redis, sid):  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.01)
        async with whole.talker() as client:
            other = await speaks(client)
        (told,) = await whole.backend.hears(1)
        assert told.event["data"]["id"] == other


async def test_a_session_that_nobody_holds_is_kept_before_its_keys_run_out(
    redis_server: EmbeddedServer, redis: Redis
) -> None:
    async with open_backend(redis_server.url, keep_s=60) as backend:
        sessions = backend.sessions
        held = (await sessions.create(turns.Opened(user="ann", door="mobile"), "held")).session
        left = (await sessions.create(turns.Opened(user="ann", door="mobile"), "left")).session
        for session in (held, left):
            await redis.zadd(keys.SESSIONS, {session.sid: 1})
            await Producer(backend.writer, session.keys.turns, Marked("t")).append(turns.UserSaid("u1", "Anybody there?"))
        assert await sessions.end_abandoned() == 0
        for key in left.keys.all:
            await redis.pexpire(key, SESSION_TTL_MS - 11 * 60_000)
        assert await sessions.end_abandoned() == 1
        document = await sessions.kept.of_ended(left.sid)
        assert document is not None
        assert b'"abandoned"' in document
        assert b"Anybody there?" in document
        assert await sessions.by_sid(held.sid) is not None
        assert await sessions.by_sid(left.sid) is None


# ---- a hand in a live session ----------------------------------------------------------------------------------------


async def test_the_backend_speaks_for_the_user_and_the_model_answers(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        stored = await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": "And tomorrow?"})
        assert (stored.status, stored.body) == (202, {"stored": True})
        events = await client.until("response.done")
        (added,) = [
            event["item"]
            for event in events
            if event["type"] == "conversation.item.added" and event["item"]["role"] == "user"
        ]
        assert added["content"] == [{"type": "input_text", "text": "And tomorrow?"}]
        document = await whole.api.document(sid, lambda document: len(document["turns"]) == 4)
        assert said(document)[2:] == [("user", "And tomorrow?"), ("assistant", "Good evening.")]


async def test_what_the_model_is_to_know_is_not_answered(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        note = {"text": "The user has paid.", "role": "system", "respond": False}
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/text", note)).status == 202
        events = await client.until("conversation.item.done")
        assert [event["item"]["role"] for event in events if event["type"] == "conversation.item.added"] == ["system"]
        document = await whole.api.document(sid, lambda document: len(document["turns"]) == 3)
        assert said(document)[-1] == ("system", "The user has paid.")
        await client.say("response.create")
        # What the turn before has left of the limits may be told at any moment.
        told = [event["type"] for event in await client.until("response.done") if event["type"] != "rate_limits.updated"]
        assert told[0] == "response.created"


async def test_instructions_change_and_stay_changed(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Beside a client that drives its own session: it is told, and the rest of its session stays."""
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        asked = {"instructions": "Speak of the sale only."}
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/instructions", asked)).status == 202
        updated = (await client.until("session.updated"))[-1]["session"]
        assert updated["instructions"] == "Speak of the sale only."
        assert updated["audio"]["input"]["turn_detection"] is None
        assert (await whole.api.document(sid))["instructions"] == "Speak of the sale only."


async def test_a_session_is_ended_and_its_client_is_told(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/end")).status == 202
        assert await closes(client) == 1000
        assert (await whole.api.document(sid, has_ended))["reason"] == "ended_by_app"
        async with asyncio.timeout(LIMIT_S):  # the document is there before the streams are gone
            while await redis.exists(SessionKeys(sid).marks):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for path in ("text", "instructions", "end"):
            again = await whole.api.ask("POST", f"/v1/sessions/{sid}/{path}", {"text": "x"} if path == "text" else None)
            assert again.status in (400, 404)
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": "x"})).status == 404


async def test_the_last_answer_may_be_waited_for(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": "Say goodbye."})
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/end", {"after_answer": True})).status == 202
        await client.until("response.done")
        assert await closes(client) == 1000
        assert said(await whole.api.document(sid, has_ended))[-2:] == [
            ("user", "Say goodbye."),
            ("assistant", "Good evening."),
        ]


async def test_a_session_in_which_nothing_was_said_can_be_ended_and_spoken_in(
    redis_server: EmbeddedServer, redis: Redis
) -> None:
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = (await client.hear())["session"]["id"].removeprefix("sess_")
            assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/end")).status == 202
            assert await closes(client) == 1000
        async with whole.talker() as client:
            sid = (await client.hear())["session"]["id"].removeprefix("sess_")
            assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": "Hello."})).status == 202
            await client.until("response.done")


async def test_an_end_is_heard_from_the_first_word_on(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes the gateway to listen for what is said to the session."""
    at_once = Bus.subscribe

    async def late(bus: Bus, channel: str, listener: Listener) -> None:
        await asyncio.sleep(0.3)
        await at_once(bus, channel, listener)

    monkeypatch.setattr(Bus, "subscribe", late)
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = (await client.hear())["session"]["id"].removeprefix("sess_")
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/end")).status == 202
        assert await closes(client) == 1000


async def test_a_request_that_is_sent_again_is_stored_once(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole, whole.talker() as client:
        sid = await speaks(client)
        for key in ("a", "a", "b", "a"):
            note = {"text": f"Note {key}.", "role": "system", "respond": False}
            headers = {"Idempotency-Key": key}
            answer = await whole.api.ask("POST", f"/v1/sessions/{sid}/text", note, headers=headers)
            assert (answer.status, answer.body) == (202, {"stored": True})
        document = await whole.api.document(sid, lambda document: len(document["turns"]) >= 4)
        assert said(document)[2:] == [("system", "Note a."), ("system", "Note b.")]


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("text", b"", "text"),
        ("text", b"{", "truncated"),
        ("text", {"text": ""}, "length >= 1"),
        ("text", {"text": "x", "role": "assistant"}, "assistant"),
        ("text", {"text": "x", "speak": True}, "speak"),
        ("instructions", {"instructions": 7}, "str"),
        ("end", {"after_answer": "yes"}, "bool"),
        ("text", b'{"text": "\xff"}', "utf-8"),
        ("text", b"[" * 100_000, "Send"),
        ("text", b"x" * 300_000, "too large"),
    ],
)
async def test_what_cannot_be_read_is_answered_with_what_to_send(
    redis_server: EmbeddedServer, redis: Redis, path: str, body: object, sentence: str
) -> None:
    async with parley(redis_server, FAST) as whole:
        answer = await whole.api.ask("POST", f"/v1/sessions/s1/{path}", body)
        assert answer.status == (413 if sentence == "too large" else 400)
        assert sentence in answer.body["error"]
        assert "Send " in answer.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/v1/users/" + "a" * 1025, 400),
        ("GET", "/v1/sessions?user=" + "a" * 1025, 400),
        ("GET", "/v1/sessions", 400),
        ("GET", "/v1/sessions?user=ann&limit=0", 400),
        ("GET", "/v1/sessions?user=ann&limit=1e3", 400),
        ("GET", "/v1/sessions?user=ann&limit=" + "9" * 5000, 400),
        ("GET", "/v1/sessions/%ff", 404),
        ("DELETE", "/v1/sessions/" + "a" * 65, 404),
        ("GET", "/v1/sessions/..%2f..", 404),
    ],
)
async def test_an_address_that_names_nothing_is_told(
    redis_server: EmbeddedServer, redis: Redis, method: str, path: str, status: int
) -> None:
    async with parley(redis_server, FAST) as whole:
        answer = await whole.api.ask(method, path)
        assert answer.status == status
        assert answer.body["error"]


@pytest.mark.parametrize(
    "path",
    ["/ws-mobile/ann", "/ws/ann", "/realtime?x=1", "/realtime/stream?conversationId=c1", "/api/sessions/{}/stream_audio"],
)
async def test_the_backend_acts_on_the_client_of_every_door(redis_server: EmbeddedServer, redis: Redis, path: str) -> None:
    """Also before its first word: a text is answered, instructions are taken, and the end is heard."""
    async with parley_with_transcoder(redis_server, FAST) as whole, AsyncExitStack() as stack:
        url, user = whole.urls[0], "ann" if "ann" in path else "anonymous"
        if "ws" in path or path.startswith("/realtime?"):
            socket = await stack.enter_async_context(whole.http.ws_connect(url + path))
            if path.startswith("/realtime?"):
                await socket.send_json({"type": "start_conversation", "conversationId": "c1"})
            heard: asyncio.Task[Any] = asyncio.create_task(_hear_all(socket))
        else:
            if "{}" in path:
                async with whole.http.post(f"{url}/api/sessions", json={"objective": "x"}) as made:
                    path = path.format((await made.json())["id"])
            response = await stack.enter_async_context(whole.http.get(url + path))
            heard = asyncio.create_task(response.read())
        sid = await _only_session(whole, user)
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/instructions", {"instructions": "Be kind."})).status == 202
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": "Hello."})).status == 202
        document = await whole.api.document(sid, lambda document: len(document["turns"]) == 2)
        assert said(document) == [("user", "Hello."), ("assistant", "Good evening.")]
        assert document["instructions"] == "Be kind."
        assert (await whole.api.ask("POST", f"/v1/sessions/{sid}/end")).status == 202
        assert len(await asyncio.wait_for(heard, LIMIT_S)) > 0
        assert (await whole.api.document(sid, has_ended))["reason"] == "ended_by_app"


async def _hear_all(socket: aiohttp.ClientWebSocketResponse) -> list[str]:
    """Up to the close, or to the word of a connection that goes on without its conversation."""
    heard: list[str] = []
    async for message in socket:
        heard.append(message.data)
        if '"conversation_ended"' in message.data:
            break
    return heard


async def _only_session(whole: Parley, user: str) -> str:
    """The id of the user's session, as soon as there is one."""
    async with asyncio.timeout(LIMIT_S):
        while not (lines := (await whole.api.ask("GET", f"/v1/sessions?user={user}")).body["sessions"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return str(lines[0]["id"])


def _has_turns(count: int, document: Object) -> bool:
    return len(document["turns"]) == count


def _is_written_down(document: Object) -> bool:
    """Each turn; what was interrupted before it was heard has an empty text."""
    return all(turn.get("text") is not None for turn in document["turns"])


async def test_a_text_keeps_its_place_among_recordings(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Before the first one, and between two, at a door whose recordings go through a transcoder."""
    async with (
        parley_with_transcoder(redis_server, FAST) as whole,
        whole.http.ws_connect(whole.urls[0] + "/ws-mobile/ann") as phone,
    ):
        heard = asyncio.create_task(_hear_all(phone))
        clip = {"type": "audio", "audio": pybase64.b64encode_as_string(make_clip(samples=44_100).data)}
        sid = await _only_session(whole, "ann")
        for number in (1, 2):
            await whole.api.ask("POST", f"/v1/sessions/{sid}/text", {"text": f"Text {number}."})
            await whole.api.document(sid, partial(_has_turns, 4 * number - 2))
            await phone.send_json(clip)
            await whole.api.document(sid, partial(_has_turns, 4 * number))
        document = await whole.api.document(sid, _is_written_down)
        users = [text for role, text in said(document) if role == "user"]
        assert users[::2] == ["Text 1.", "Text 2."]
        assert all("1.000 seconds" in str(text) for text in users[1::2])
        assert [role for role, _ in said(document)] == ["user", "assistant"] * 4
        await phone.close()
        await heard


async def test_a_command_goes_the_way_of_the_recordings(redis_server: EmbeddedServer, redis: Redis) -> None:
    """A session of whole recordings begins in `pcm` and moves to `up` with the first one; what is said after it goes there,
    also when whoever says it has looked before."""
    async with open_backend(redis_server.url) as backend:
        opened = turns.Opened(user="ann", door="mobile", turn_mode="utterance")
        session = (await backend.sessions.create(opened, "ann")).session
        k = session.keys
        await commands.command(backend, session, opened, Text("first"), "m1")
        await commands.command(backend, session, opened, Text("first"), "m1")
        assert [entry.message for entry in await read(redis, k.pcm, pcm.decoder)][1:] == [Text("first")]
        await Producer(backend.writer, k.up, Marked("phone")).append(up.File(b"x", 1))
        assert not await commands._stored_in_pcm(backend, session, Text("late"), "m3")
        await commands.command(backend, session, opened, Text("second"), "m2")
        assert [entry.message for entry in await read(redis, k.up, up.decoder)][1:] == [up.File(b"x", 1), Text("second")]
        assert len(await read(redis, k.pcm, pcm.decoder)) == 2
        assert await redis.xlen(keys.dispatch("transcoder")) == 1


@pytest.mark.parametrize(("chunked", "source"), [("stream", "stream"), (None, "pcm16 16000")])
async def test_a_command_goes_through_the_transcoder_where_all_speech_does(
    redis_server: EmbeddedServer, redis: Redis, chunked: str | None, source: str
) -> None:
    """From the first word on, before any was said."""
    async with open_backend(redis_server.url) as backend:
        opened = turns.Opened(user="ann", door="ios", input=chunked)
        session = (await backend.sessions.create(opened, "ann", source=source)).session
        await commands.command(backend, session, opened, Text("first"), "m1")
        assert [entry.message for entry in await read(redis, session.keys.up, up.decoder)][1:] == [Text("first")]


# ---- forgetting ------------------------------------------------------------------------------------------------------


async def is_forgotten(whole: Parley, redis: Redis, sid: str) -> None:
    """Nothing is left but the note that nothing is to be kept, and what its user has used that day."""
    passing = ("parley:usage:", "parley:dispatch:")
    named = [key for key in await named_in(redis, sid) if not key.startswith(passing)]
    assert named == [SessionKeys(sid).forgotten]
    async with asyncio.timeout(LIMIT_S):  # its bridge gives it back last of all
        while any(key.startswith("parley:dispatch:") for key in await named_in(redis, sid)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await whole.api.ask("GET", f"/v1/sessions/{sid}")).status == 404
    assert (await whole.api.ask("DELETE", f"/v1/sessions/{sid}")).status == 404


async def test_a_live_session_ends_and_is_forgotten(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Its client is told, and the app's backend is not."""
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
            forgotten = await whole.api.ask("DELETE", f"/v1/sessions/{sid}")
            assert (forgotten.status, forgotten.body) == (200, {"forgotten": True})
            assert await closes(client) == 1000
        await is_forgotten(whole, redis, sid)
        async with whole.talker() as client:
            other = await speaks(client)
        (told,) = await whole.backend.hears(1)
        assert told.event["data"]["id"] == other


async def test_a_kept_session_is_forgotten_with_what_is_still_to_be_told(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole:
        whole.backend.answers = [503]
        async with whole.talker() as client:
            sid = await speaks(client)
        await whole.api.document(sid, has_ended)
        await whole.backend.hears(1)
        assert await redis.exists(SessionKeys(sid).webhook)
        assert (await whole.api.ask("DELETE", f"/v1/sessions/{sid}")).status == 200
        await is_forgotten(whole, redis, sid)


async def test_a_session_without_a_word_is_forgotten(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = (await client.hear())["session"]["id"].removeprefix("sess_")
            assert (await whole.api.ask("DELETE", f"/v1/sessions/{sid}")).status == 200
            assert await closes(client) == 1000
        await is_forgotten(whole, redis, sid)


async def test_a_session_that_no_bridge_can_end_is_forgotten(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none: the gateway ends it by itself, after a while."""
    monkeypatch.setattr("gateway.forgetting.END_WITHIN_S", 0.2)
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_API_KEYS=KEY)
    async with parley(redis_server, FAST) as whole, serving(settings) as url:
        session = (await Sessions(redis).create(turns.Opened(user="ann", door="mobile"), "ann")).session
        await redis.hset(session.keys.marks, keys.dispatch_field("bridge"), "1-1")
        answer = await Api(whole.http, [url]).ask("DELETE", f"/v1/sessions/{session.sid}")
        assert answer.status == 200
        await is_forgotten(whole, redis, session.sid)


async def test_a_forgotten_user_leaves_no_key_behind(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Live sessions, kept ones, what was created by request, what counts against limits; and nothing of another user's."""
    user, other = "Zoë/Smith", "somebody-else"
    async with parley(redis_server, FAST, tokens=True) as whole:
        zoe, bob = (mint(TOKENS, name, "phone", time.time(), 60) for name in (user, other))
        async with whole.talker(f"?model=any&token={zoe}") as client:
            kept = await speaks(client)
        await whole.api.document(kept, has_ended)
        headers = {"Authorization": f"Bearer {zoe}"}
        async with whole.http.post(f"{whole.urls[0]}/api/sessions", json={"objective": "x"}, headers=headers) as made:
            assert made.status == 200
        async with whole.talker(f"?model=any&token={zoe}") as client, whole.talker(f"?model=any&token={bob}", 1) as theirs:
            live, bobs = await speaks(client), await speaks(theirs)
            await redis.hset(keys.usage(user, day_of(now_ms())), "nano_usd", "1")
            await redis.hset(keys.usage(user, day_of(now_ms() - keys.USAGE_TTL_MS)), "nano_usd", "1")
            assert await named_in(redis, "Zo%C3%AB")
            listed = await whole.api.ask("GET", "/v1/sessions?user=Zo%C3%AB/Smith")
            assert {line["id"] for line in listed.body["sessions"]} == {kept, live}
            forgotten = await whole.api.ask("DELETE", "/v1/users/Zo%C3%AB%2FSmith")
            assert (forgotten.status, forgotten.body) == (200, {"forgotten": 2})
            assert await closes(client) == 1000
            for spelling in ("Zo%C3%AB", "Zoë", r"Zo\xc3\xab", r"Zo\\xc3\\xab", "Smith"):
                assert await named_in(redis, spelling) == []
            assert (await whole.api.document(bobs))["user"] == other
            await theirs.say("response.create")
            await theirs.until("response.done")
        assert (await whole.api.ask("DELETE", "/v1/users/nobody")).body == {"forgotten": 0}


async def test_audio_is_never_in_a_document(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
        document = await whole.api.document(sid, has_ended)
        assert pybase64.b64encode_as_string(bytes(range(48)))[:32] not in str(document)
