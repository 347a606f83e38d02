"""The iOS door, to the byte, for a client that writes its HTTP by hand."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway import uploads
from gateway.app import serving
from gateway.doors.ios_messages import MAX_CHUNK_BYTES, MAX_FILE_IDS, MAX_OBJECTIVE_CHARS
from gateway.records import MAX_LISTED, Records, Wanted
from gateway.settings import GatewaySettings
from gateway.uploads import STOPPED
from streams import down, keys, turns, up
from streams.attach import presence
from streams.ids import EntryId
from streams.messages import End
from streams.sessions import Session, Sessions, now_ms
from tests.contract.doors.ios_stage import KeptConnection, kept, listening, ramp
from tests.contract.doors.stage import LIMIT_S, Bridge, Stage, clients_are_cut_off_soon

ANYBODY = "anonymous"
CHUNK = ramp(320)
"""20 ms at 16 kHz"""

NOT_FOUND = {"error": "session not found"}
EMPTY = {"error": "empty audio data"}


@pytest.fixture
async def app(stage: Stage) -> AsyncIterator[KeptConnection]:
    """The app's connection for requests."""
    async with kept(stage.url) as connection:
        yield connection


async def said(stage: Stage, session: Session) -> list[up.UpMessage]:
    """All that is in `up`."""
    entries: Any = await stage.redis.xrange(session.keys.up)
    return [up.decoder.decode(fields) for _, fields in entries]


async def spoken(stage: Stage, session: Session) -> bytes:
    """The audio in `up`."""
    return b"".join(message.audio for message in await said(stage, session) if isinstance(message, up.Audio))


async def conversation(stage: Stage, sid: str) -> tuple[Session, Bridge]:
    """The session behind a record, as soon as there is one, and this test as its bridge."""
    session = await stage.session(ANYBODY, sid)
    return session, await stage.bridge(session)


# ---- records --------------------------------------------------------------------------------------------------------


async def test_it_is_healthy(app: KeptConnection) -> None:
    answer = await app.get("/api/health")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


async def test_a_session_is_created(app: KeptConnection) -> None:
    """With just these fields; the time is ISO 8601, in UTC and whole seconds."""
    answer = await app.post("/api/sessions", b'{"objective": "Sell the house", "fileIds": ["f1", "f2"]}')
    assert answer.status == 200
    created = answer.json
    assert list(created) == ["id", "objective", "fileIds", "status", "createdAt"]
    assert re.fullmatch(r"[0-9a-f]{32}", created["id"])
    assert (created["objective"], created["fileIds"], created["status"]) == ("Sell the house", ["f1", "f2"], "created")
    at = datetime.strptime(created["createdAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


async def test_the_callers_sessions_are_listed(app: KeptConnection) -> None:
    assert (await app.get("/api/sessions")).json == {"sessions": []}
    ids = [await app.create(objective=name) for name in ("a", "b")]
    listed = (await app.get("/api/sessions")).json
    assert list(listed) == ["sessions"]
    assert [list(line) for line in listed["sessions"]] == 2 * [["id", "objective", "createdAt", "status"]]
    assert {line["id"]: line["objective"] for line in listed["sessions"]} == dict(zip(ids, "ab", strict=True))
    assert {line["status"] for line in listed["sessions"]} == {"created"}


async def test_sessions_are_forgotten_in_time_and_listed_within_bounds(stage: Stage, app: KeptConnection) -> None:
    """A day after their last use; of very many the newest are listed, and the others still there."""
    first = await app.create()
    for _ in range(MAX_LISTED):
        await app.create()
    assert len((await app.get("/api/sessions")).json["sessions"]) == MAX_LISTED
    assert (await app.get(f"/api/sessions/{first}")).status == 200
    day = keys.RECORD_TTL_MS
    assert day - 60_000 < await stage.redis.pttl(keys.records(ANYBODY)) <= day
    await stage.redis.pexpire(keys.record(first), 60_000)
    await app.upload(first, CHUNK)
    assert day - 60_000 < await stage.redis.pttl(keys.record(first)) <= day


async def test_what_is_forgotten_is_listed_no_more(stage: Stage, app: KeptConnection) -> None:
    gone, there = await app.create(), await app.create()
    await stage.redis.delete(keys.record(gone))
    assert [line["id"] for line in (await app.get("/api/sessions")).json["sessions"]] == [there]
    assert await stage.redis.zcard(keys.records(ANYBODY)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"objective": 1, "fileIds": []}',
        b'{"objective": "x", "fileIds": "f"}',
        b'{"objective": "x", "fileIds": [1]}',
        b'{"objective": "x", "fileIds": [], "sampleRate": 44100}',
        b'{"objective": "x", "fileIds": [], "sampleRate": "16000"}',
        b'{"objective": "x", "fileIds": [], "packetTimestamps": "yes"}',
        json.dumps({"objective": "x" * (MAX_OBJECTIVE_CHARS + 1), "fileIds": []}).encode(),
        json.dumps({"objective": "x", "fileIds": ["f"] * (MAX_FILE_IDS + 1)}).encode(),
    ],
)
async def test_what_cannot_be_created_is_refused(app: KeptConnection, body: bytes) -> None:
    """With a sentence; and the connection can be used on."""
    answer = await app.post("/api/sessions", body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert answer.json["error"].startswith("The session cannot be created: ")
    assert (await app.get("/api/sessions")).json == {"sessions": []}


async def test_a_status_moves_forward_only(app: KeptConnection) -> None:
    sid = await app.create()

    async def says(verb: str) -> str:
        answer = await app.post(f"/api/sessions/{sid}/{verb}")
        assert (answer.status, answer.json["id"]) == (200, sid)
        return str(answer.json["status"])

    steps = ["start", "start", "stop", "stop", "start", "complete", "stop", "start", "complete"]
    assert [await says(verb) for verb in steps] == [
        *("running", "running", "stopped", "stopped", "stopped"),
        *("completed", "completed", "completed", "completed"),
    ]
    assert [line["status"] for line in (await app.get("/api/sessions")).json["sessions"]] == ["completed"]


REQUESTS = [
    *(("POST", verb) for verb in ("start", "stop", "complete", "upload_audio", "stop_stream")),
    ("GET", "stream_audio"),
]


@pytest.mark.parametrize(("method", "verb"), REQUESTS)
@pytest.mark.parametrize("whose", ["nobody's", "somebody else's", "no id"])
async def test_a_session_that_is_not_the_callers_is_not_found(
    stage: Stage, app: KeptConnection, method: str, verb: str, whose: str
) -> None:
    """Whether there is one or not cannot be told apart."""
    others = await Records(stage.redis).create("bob", Wanted("x", (), 16_000, packet_timestamps=False))
    sid = {"nobody's": "0" * 32, "somebody else's": others.id, "no id": "%2e%2e~x"}[whose]
    answer = await app.ask(method, f"/api/sessions/{sid}/{verb}", CHUNK if method == "POST" else None)
    assert (answer.status, answer.json) == (404, NOT_FOUND)
    assert (await app.get("/api/health")).status == 200


# ---- up -------------------------------------------------------------------------------------------------------------


async def test_chunks_are_stored_one_after_the_other(stage: Stage, app: KeptConnection) -> None:
    """Each is there when it is answered; the session is handed out to both workers before the first."""
    sid = await app.create()
    chunks = [ramp(320 + number, 1_000 * number) for number in range(50)]
    for number, chunk in enumerate(chunks):
        answer = await app.upload(sid, chunk)
        assert (answer.status, answer.json) == (200, {"status": "ok", "bytes_received": len(chunk)})
        if number % 10 == 0:
            session = await stage.session(ANYBODY, sid)
            assert (await spoken(stage, session)).endswith(chunk)
    assert await spoken(stage, session) == b"".join(chunks)
    assert await stage.handed_out("bridge") == await stage.handed_out("transcoder") == [session.sid]
    assert (await said(stage, session))[0] == up.GenOpened(source="pcm16 16000")
    opened = await stage.opened(session)
    assert isinstance(opened, turns.Opened)
    assert (opened.user, opened.door, opened.turn_mode) == (ANYBODY, "ios", "server_vad")


@pytest.mark.parametrize("body", [b"", b"x"])
async def test_without_a_sample_it_is_empty(stage: Stage, app: KeptConnection, body: bytes) -> None:
    """And opens nothing; the connection can be used on."""
    sid = await app.create()
    answer = await app.upload(sid, body)
    assert (answer.status, answer.json) == (400, EMPTY)
    assert await stage.handed_out("bridge") == []
    assert (await app.upload(sid, CHUNK)).status == 200


async def test_half_a_sample_is_dropped(stage: Stage, app: KeptConnection) -> None:
    """What was received is said to the byte all the same."""
    sid = await app.create()
    assert (await app.upload(sid, CHUNK + b"x")).json["bytes_received"] == len(CHUNK) + 1
    await app.upload(sid, CHUNK)
    assert await spoken(stage, await stage.session(ANYBODY, sid)) == CHUNK + CHUNK


async def test_a_chunk_has_a_largest_size(app: KeptConnection) -> None:
    sid = await app.create()
    assert (await app.upload(sid, bytes(MAX_CHUNK_BYTES))).status == 200
    answer = await app.upload(sid, bytes(MAX_CHUNK_BYTES + 2))
    assert answer.status == 413
    assert "too large" in answer.json["error"]


async def test_timestamps_are_taken_off_and_reported(stage: Stage, app: KeptConnection) -> None:
    """The last one-way latency with each answer, all of them in the session and in the metrics."""
    sid = await app.create(sampleRate=24_000, packetTimestamps=True)
    for late_ms in (100, 200, 300):
        answer = await app.upload(sid, struct.pack("<q", now_ms() - late_ms) + CHUNK)
        assert answer.json == {"status": "ok", "bytes_received": 8 + len(CHUNK)}
        told = re.fullmatch(r'uplink;desc="one way";dur=(\d+)', answer.headers["server-timing"])
        assert told is not None
        assert late_ms <= int(told[1]) < late_ms + 10_000
    session = await stage.session(ANYBODY, sid)
    assert await spoken(stage, session) == 3 * CHUNK
    report = (await app.get(f"/api/sessions/{sid}")).json["latencyMs"]
    assert report["packets"] == 3
    assert report["skewed"] == 0
    assert 200 <= report["p50"] <= report["p95"]
    assert await stage.metric('parley_gateway_uplink_latency_seconds_count{door="ios"}') == 3
    assert (await said(stage, session))[0] == up.GenOpened(source="pcm16 24000")


@pytest.mark.parametrize(
    "stamp", [2**63 - 1, -(2**63), 0, 4_102_444_800_000], ids=["last", "first", "zero", "the year 2100"]
)
async def test_clocks_that_differ_say_nothing(stage: Stage, app: KeptConnection, stamp: int) -> None:
    """The audio counts all the same."""
    sid = await app.create(packetTimestamps=True)
    answer = await app.upload(sid, struct.pack("<q", stamp) + CHUNK)
    assert answer.status == 200
    assert "server-timing" not in answer.headers
    assert (await app.get(f"/api/sessions/{sid}")).json["latencyMs"] == {"packets": 0, "skewed": 1}
    assert await spoken(stage, await stage.session(ANYBODY, sid)) == CHUNK


@pytest.mark.parametrize("length", [0, 7, 8, 9])
async def test_a_timestamp_alone_is_empty(app: KeptConnection, length: int) -> None:
    sid = await app.create(packetTimestamps=True)
    answer = await app.upload(sid, bytes(length))
    assert (answer.status, answer.json) == (400, EMPTY)


async def test_rate_and_timestamps_may_stand_in_the_query(stage: Stage, app: KeptConnection) -> None:
    """A session keeps the rate that it began with."""
    sid = await app.create()
    query = "?sampleRate=24000&packetTimestamps=true"
    assert (await app.upload(sid, struct.pack("<q", now_ms()) + CHUNK, query)).status == 200
    assert (await app.upload(sid, CHUNK)).status == 200
    session = await stage.session(ANYBODY, sid)
    assert await spoken(stage, session) == 2 * CHUNK
    assert (await said(stage, session))[0] == up.GenOpened(source="pcm16 24000")
    answer = await app.upload(sid, CHUNK, "?sampleRate=16000")
    assert answer.status == 400
    assert "24000 Hz" in answer.json["error"]
    for query in ("?sampleRate=8000", "?sampleRate=", "?packetTimestamps=perhaps"):
        assert (await app.upload(sid, CHUNK, query)).status == 400


async def test_requests_of_one_session_may_come_to_any_gateway(stage: Stage, settings: GatewaySettings) -> None:
    async with serving(settings) as other, kept(stage.url) as here, kept(other) as there:
        sid = await here.create()
        chunks = [ramp(320, 1_000 * number) for number in range(20)]
        for number, chunk in enumerate(chunks):
            assert (await (here, there)[number % 2].upload(sid, chunk)).status == 200
        session = await stage.session(ANYBODY, sid)
        assert await spoken(stage, session) == b"".join(chunks)
        assert (await there.post(f"/api/sessions/{sid}/stop_stream")).json == {"status": "stopped"}
        assert (await said(stage, session))[-1] == End(STOPPED)


async def test_who_speaks_is_there(stage: Stage, app: KeptConnection) -> None:
    """Also while nobody listens; a listener takes that over."""
    sid = await app.create()
    await app.upload(sid, CHUNK)
    session = await stage.session(ANYBODY, sid)
    assert (await presence(stage.redis, session)).attached
    by_uploads = await stage.redis.get(session.keys.attach)
    async with listening(stage.url, sid) as stream:
        await stream.read()
        assert await stage.redis.get(session.keys.attach) != by_uploads
        assert (await app.upload(sid, CHUNK)).status == 200
        await stream.read()
        assert not stream.over


async def test_who_goes_on_speaking_stays_there(stage: Stage, app: KeptConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hold on the session is renewed with what comes, and taken anew when a listener has left."""
    monkeypatch.setattr(uploads, "ATTACH_RENEW_S", 0.0)
    sid = await app.create()
    await app.upload(sid, CHUNK)
    session = await stage.session(ANYBODY, sid)
    await stage.redis.pexpire(session.keys.attach, 5_000)
    await app.upload(sid, CHUNK)
    assert await stage.redis.pttl(session.keys.attach) > 5_000
    async with listening(stage.url, sid) as stream:
        await stream.read()
    await stage.gone(session.keys.attach)
    await app.upload(sid, CHUNK)
    assert (await presence(stage.redis, session)).attached


async def test_an_upload_is_one_question_to_redis(stage: Stage, app: KeptConnection) -> None:
    """In the middle of many."""
    sid = await app.create()
    await app.upload(sid, CHUNK)

    async def asked() -> int:
        stats: Any = await stage.redis.info("commandstats")
        return sum(
            stats[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval", "hgetall", "get") if f"cmdstat_{name}" in stats
        )

    before = await asked()
    for _ in range(20):
        await app.upload(sid, CHUNK)
    assert 20 <= await asked() - before < 30


async def test_after_the_end_the_next_chunk_opens_a_new_session(stage: Stage, app: KeptConnection) -> None:
    """As long as the client has not stopped."""
    sid = await app.create()
    await app.upload(sid, CHUNK)
    first = await stage.session(ANYBODY, sid)
    await Sessions(stage.redis).end(first)
    assert (await app.upload(sid, CHUNK)).status == 200
    second = await stage.session(ANYBODY, sid)
    assert second != first
    assert await spoken(stage, second) == CHUNK


@pytest.mark.parametrize("verb", ["stop_stream", "stop", "complete"])
async def test_after_a_stop_stragglers_are_not_found(stage: Stage, app: KeptConnection, verb: str) -> None:
    """What was still under way opens no conversation. One that is started again may be talked to again, unless completed."""
    sid = await app.create()
    await app.upload(sid, CHUNK)
    session = await stage.session(ANYBODY, sid)
    for _ in range(2):
        assert (await app.post(f"/api/sessions/{sid}/{verb}")).status == 200
        answer = await app.upload(sid, CHUNK)
        assert (answer.status, answer.json) == (404, NOT_FOUND)
    assert list(map(type, await said(stage, session))) == [up.GenOpened, up.Audio, End]
    await app.post(f"/api/sessions/{sid}/start")
    assert (await app.upload(sid, CHUNK)).status == (404 if verb == "complete" else 200)


# ---- down -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
async def test_the_stream_is_an_endless_wav(app: KeptConnection, stage: Stage, rate: int) -> None:
    sid = await app.create(sampleRate=rate)
    async with listening(stage.url, sid) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "audio/wav"
        assert stream.headers["transfer-encoding"] == "chunked"
        assert stream.headers["cache-control"] == "no-cache"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        await stream.until_bytes(4_800)
        assert stream.header == (
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0"
            + struct.pack("<IIHH", rate, 2 * rate, 2, 16)
            + b"data\xff\xff\xff\xff"
        )
        assert not any(stream.pcm)


async def test_the_stream_keeps_to_the_time(app: KeptConnection, stage: Stage) -> None:
    """Never more than 200 ms ahead of it, silence and speech alike, and of the speech every sample once and in order."""
    sid = await app.create(sampleRate=24_000)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with listening(stage.url, sid) as stream:
        _, bridge = await conversation(stage, sid)
        answers = down.Audio("r1", "i1", 0, 0, ramp(12_000)), down.Audio("r2", "i2", 0, 0, ramp(12_000, 12_000))
        await bridge.say(*answers)  # at once: a player that runs dry between them plays silence
        while len(stream.heard) < 24_000:
            await stream.read()
            assert len(stream.pcm) / 48_000 <= loop.time() - begun + 0.2
        assert stream.heard.tobytes() == ramp(24_000)
        samples = np.frombuffer(stream.pcm, "<i2")
        first = int(np.flatnonzero(samples)[0])
        assert samples[first : first + 24_000].tobytes() == ramp(24_000)


@pytest.mark.parametrize("how", ["interrupted", "speech_started"])
async def test_an_interruption_cuts_over(app: KeptConnection, stage: Stage, how: str) -> None:
    """What waits of the answer is not played, nor what still comes of it; the next one is."""
    sid = await app.create(sampleRate=24_000)
    async with listening(stage.url, sid) as stream:
        _, bridge = await conversation(stage, sid)
        for second in range(20):
            await bridge.say_audio(b"\x01\x00" * 24_000, start_ms=1_000 * second)
        await stream.until_heard(4_800)
        if how == "interrupted":
            await bridge.say(down.Interrupted(item="i1", part=0, at_ms=200))
        else:
            await bridge.say_event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        await bridge.say_audio(b"\x01\x00" * 24_000, start_ms=20_000)
        await bridge.say_audio(b"\x02\x00" * 2_400, item="i2", response="r2")
        while not (stream.heard == 2).any():
            await stream.read()
        assert (stream.heard == 1).sum() < 10 * 24_000
        await stream.until_heard(int((stream.heard == 1).sum()) + 2_400)


async def test_a_redial_goes_on_where_it_was(app: KeptConnection, stage: Stage) -> None:
    """By what had left for the client; nothing is left out, and half a second may be heard twice."""
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    session, bridge = await conversation(stage, sid)
    sessions = Sessions(stage.redis)
    async with listening(stage.url, sid) as stream:
        spoken_to: list[EntryId] = []
        for tenth in range(30):
            await bridge.say_audio(ramp(2_400, 2_400 * tenth % 30_000), start_ms=100 * tenth)
            spoken_to.append(await stage.newest(session))
        await stream.until_heard(24_000)
        # After a pause of the whole machine much is heard at once, of which the gateway learns a moment later.
        while (arrived := await sessions.cursor(session, "arrived")) is None or (
            len(stream.heard) - 2_400 * sum(entry <= arrived for entry in spoken_to) > 12_000
        ):
            await stream.read()
        before = len(stream.heard)
        assert before < 72_000, "it was known while there was more to play"
    await stage.gone(session.keys.attach)
    async with listening(stage.url, sid) as stream:
        await stream.until_heard(12_000)
        again = stream.heard[:12_000]
    lag = (before - (int(again[0]) - 1)) % 30_000
    assert min(lag, 30_000 - lag) <= 12_000
    assert again.tobytes() == (np.arange(before - lag, before - lag + 12_000) % 30_000 + 1).astype("<i2").tobytes()


async def test_the_newest_stream_wins(app: KeptConnection, stage: Stage, settings: GatewaySettings) -> None:
    """On any gateway; the one before ends."""
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    async with serving(settings) as other, listening(stage.url, sid) as first, listening(other, sid) as second:
        await first.until_over()
        _, bridge = await conversation(stage, sid)
        await bridge.say_audio(ramp(100))
        await second.until_heard(100)


@pytest.mark.parametrize("heard", [True, False])
async def test_stop_stream_ends_it_at_once(app: KeptConnection, stage: Stage, heard: bool) -> None:
    """Also while much waits to be played; when nobody has spoken there is nothing to end but the stream."""
    sid = await app.create(sampleRate=24_000)
    async with listening(stage.url, sid) as stream:
        if heard:
            await app.upload(sid, CHUNK)
        session, bridge = await conversation(stage, sid)
        for second in range(30):
            await bridge.say_audio(ramp(24_000), start_ms=1_000 * second)
        await stream.until_heard(100)
        for _ in range(2):
            answer = await app.post(f"/api/sessions/{sid}/stop_stream")
            assert (answer.status, answer.body) == (200, b'{"status":"stopped"}')
        if heard:
            assert await stage.redis.get(session.at) is None
            await bridge.say(down.Ended(STOPPED))
        await stream.until_over()
        assert len(stream.heard) < 20 * 24_000
    assert (await app.post(f"/api/sessions/{sid}/stop_stream")).json == {"status": "stopped"}


async def test_after_a_stop_a_new_stream_is_a_new_session(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    first = await stage.session(ANYBODY, sid)
    await app.post(f"/api/sessions/{sid}/stop_stream")
    async with listening(stage.url, sid) as stream:
        await stream.read()
        assert (await app.upload(sid, CHUNK)).status == 200
        assert await stage.session(ANYBODY, sid) != first


async def test_what_was_said_last_is_played_before_the_end(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    async with listening(stage.url, sid) as stream:
        _, bridge = await conversation(stage, sid)
        await bridge.say_audio(ramp(12_000))
        await bridge.say(down.Ended("limit"))
        await stream.until_over()
        assert stream.heard.tobytes() == ramp(12_000)


async def test_the_listeners_place_is_kept(app: KeptConnection, stage: Stage) -> None:
    """An entry counts as arrived when its last sample has left for the client, not when it was read."""
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    sessions = Sessions(stage.redis)
    async with listening(stage.url, sid) as stream:
        session, bridge = await conversation(stage, sid)
        await bridge.say_audio(ramp(240))
        await bridge.say_audio(ramp(24_000 * 30), start_ms=10)
        await stream.until_heard(24_000)
        async with asyncio.timeout(LIMIT_S):
            while (arrived := await sessions.cursor(session, "arrived")) is None:
                await stream.read()
        last = await sessions.last_id(session, "down")
        assert last is not None
        assert arrived < last


@clients_are_cut_off_soon
async def test_a_listener_that_does_not_read_is_cut_off(app: KeptConnection, stage: Stage) -> None:
    """Half a second is under way to it at most; its session waits for it."""
    sid = await app.create(sampleRate=24_000)
    await app.upload(sid, CHUNK)
    async with listening(stage.url, sid) as stream:
        stream.connection.stop_reading()
        async with asyncio.timeout(60):
            while not await stage.metric('parley_gateway_errors_total{code="slow_client",door="ios"}'):
                await app.get("/api/health")
    assert await Sessions(stage.redis).find(ANYBODY, sid) is not None


async def test_a_stream_whose_session_is_gone_ends(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create(sampleRate=24_000)
    async with listening(stage.url, sid) as stream:
        await Sessions(stage.redis).end(await stage.session(ANYBODY, sid), linger_ms=0)
        await stream.until_over()


async def test_a_session_in_which_nobody_spoke_ends_with_its_stream(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create(sampleRate=24_000)
    async with listening(stage.url, sid):
        session = await stage.session(ANYBODY, sid)
    await stage.gone(session.keys.down)
    assert (await app.get(f"/api/sessions/{sid}")).json["status"] == "created"


async def test_a_gateway_that_stops_ends_its_streams(stage: Stage, settings: GatewaySettings) -> None:
    """As the end of a file, not as an accident; the session waits, and goes on at another gateway."""
    async with kept(stage.url) as app:
        sid = await app.create(sampleRate=24_000)
        await app.upload(sid, CHUNK)
        session, bridge = await conversation(stage, sid)
        async with AsyncExitStack() as stack:
            other = await stack.enter_async_context(serving(settings))
            async with listening(other, sid) as stream:
                await bridge.say_audio(ramp(240_000))  # more than is heard before it stops
                await stream.until_heard(2_400)
                await asyncio.gather(stack.aclose(), stream.until_over())
        await stage.gone(session.keys.attach)
        async with listening(stage.url, sid) as stream:
            await stream.until_heard(2_400)
            assert await stage.session(ANYBODY, sid) == session


async def test_a_client_of_old_http_gets_it_unchunked(app: KeptConnection, stage: Stage) -> None:
    sid = await app.create()
    async with kept(stage.url) as old:
        old.writer.write(f"GET /api/sessions/{sid}/stream_audio HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        status, headers = await old.head()
        assert status == 200
        assert "transfer-encoding" not in headers
        assert (await old.reader.readexactly(44))[:4] == b"RIFF"
        assert await old.reader.readexactly(640) == bytes(640)


async def test_a_head_request_opens_no_stream(app: KeptConnection) -> None:
    sid = await app.create()
    app.send("HEAD", f"/api/sessions/{sid}/stream_audio")
    assert (await app.head())[0] == 405


async def test_listeners_and_speakers_of_two_sessions_do_not_meet(app: KeptConnection, stage: Stage) -> None:
    mine, theirs = await app.create(sampleRate=24_000), await app.create(sampleRate=24_000)
    async with listening(stage.url, mine) as stream, listening(stage.url, theirs) as other:
        _, bridge = await conversation(stage, mine)
        await bridge.say_audio(ramp(2_400))
        await stream.until_heard(2_400)
        await other.until_bytes(9_600)
        assert not any(other.pcm)


# ---- malformed ------------------------------------------------------------------------------------------------------

bodies = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=5)
            | st.lists(st.text(max_size=3))
            for name in ("objective", "fileIds", "sampleRate", "packetTimestamps")
        },
    ).map(lambda value: json.dumps(value).encode()),
)
words = st.text("abcdef0123456789%&=?./~-", max_size=30)
values = st.sampled_from(["", "true", "24000", "16000", "-1", "%00", "%ff", "1e3"])
queries = st.tuples(values, values).map(lambda pair: f"?sampleRate={pair[0]}&packetTimestamps={pair[1]}")


async def test_nothing_malformed_hurts(stage: Stage) -> None:
    """A thousand requests on connections that are kept: each has an answer of the contract's, as JSON where it is ours to
    say something, and none stands in the way of the next."""
    asked: list[tuple[str, str, bytes]] = []

    @hypothesis_settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck))
    @given(bodies, queries | st.just(""), words, st.sampled_from([verb for method, verb in REQUESTS if method == "POST"]))
    def collect(body: bytes, query: str, word: str, verb: str) -> None:
        asked.append(("POST", "/api/sessions" + query, body))
        asked.append(("POST", f"/api/sessions/{word.split('?')[0].split('/')[0] or 'x'}/{verb}{query}", body))
        asked.append(("POST", f"/api/sessions/SID/upload_audio{query}", body))
        asked.append(("GET", f"/api/sessions/SID?{word}", b""))

    collect()
    assert len(asked) >= 1_000
    async with kept(stage.url) as app:
        sid = await app.create()
        for method, path, body in asked:
            answer = await app.ask(method, path.replace("SID", sid), body)
            assert answer.status in (200, 400, 404), (method, path, body, answer)
            if answer.status == 200 or answer.headers["content-type"].startswith("application/json"):
                assert isinstance(answer.json, dict)
            else:
                assert answer.status == 404
        assert (await app.upload(sid, CHUNK)).status == 200


async def test_without_redis_the_client_is_told_to_come_later(stage: Stage, app: KeptConnection, redis: Redis) -> None:
    """And when to; on a connection that can be used on."""
    sid = await app.create()
    await redis.config_set("maxmemory", "1")
    try:
        answer = await app.post("/api/sessions", b"{}")
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        answer = await app.upload(sid, CHUNK)
        assert answer.status == 503
        assert list(answer.json) == ["error"]
    finally:
        await redis.config_set("maxmemory", "0")
    assert (await app.upload(sid, CHUNK)).status == 200
