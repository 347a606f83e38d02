"""The old REST call: a signpost, byte for byte; and, on demand, an answer to one recording."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec
import pybase64
import pytest
from redis.asyncio import Redis

from cli.token import mint
from gateway.app import serving
from gateway.settings import GatewaySettings
from gateway.wav import HEADER_BYTES, wav
from runtime.embedded import EmbeddedServer
from simulator.answers import words
from simulator.options import Options
from streams import keys
from tests.contract.doors.api_stage import TOKENS, Parley, has_ended, parley_with_transcoder, said
from tests.contract.doors.openai_stage import LIMIT_S
from tests.media.corpus import cases, made
from tests.media.make_media import as_samples, correlation, libav_decode, make_clip

FAST = Options(speed=0, transcription_delay_s=0)
CALL = "/api/process-audio?mode=sync"
CLIP = make_clip(samples=44_100)


def whole(redis: EmbeddedServer, options: Options = FAST, **settings: Any) -> AbstractAsyncContextManager[Parley]:
    return parley_with_transcoder(redis, options, **settings)


async def post(parley: Parley, data: Any, path: str = CALL, **headers: str) -> tuple[int, dict[str, Any]]:
    async with parley.http.post(parley.urls[0] + path, data=data, headers=headers) as response:
        assert response.content_type == "application/json"
        return response.status, msgspec.json.decode(await response.read())


async def nothing_is_left(redis: Redis) -> None:
    """No session is live, none is handed out, none counts against a limit."""
    async with asyncio.timeout(LIMIT_S):
        while await redis.zcard(keys.SESSIONS) or await redis.xlen(keys.dispatch("bridge")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def form(data: bytes, name: str = "audio") -> aiohttp.FormData:
    fields = aiohttp.FormData()
    fields.add_field("user_id", "ann")
    fields.add_field(name, data, filename="recording.m4a", content_type="audio/mp4")
    fields.add_field("note", "x" * 1000)
    return fields


def without_recording() -> aiohttp.FormData:
    fields = aiohttp.FormData(default_to_multipart=True)
    fields.add_field("user_id", "ann")
    return fields


@pytest.mark.parametrize("query", ["", "?mode=", "?mode=async", "?mode=SYNC", "?sync=1"])
async def test_unless_it_is_asked_for_the_signpost_stays(redis_server: EmbeddedServer, redis: Redis, query: str) -> None:
    """Byte for byte, whatever is sent."""
    async with serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url, aiohttp.ClientSession() as http:
        host = url.removeprefix("http://")
        for data in (None, b"old", form(b"old")):
            async with http.post(f"{url}/api/process-audio{query}", data=data) as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "application/json"
                assert await response.read() == (
                    b'{"success":false,"error":"Please use WebSocket connection for voice chat",'
                    b'"websocket_url":"ws://' + host.encode() + b'/ws-mobile/{user_id}"}'
                )
    assert await redis.keys("*") == []


@pytest.mark.parametrize("sent", ["body", "audio", "file", "other"])
async def test_a_recording_is_answered(redis_server: EmbeddedServer, redis: Redis, sent: str) -> None:
    """As the body or in a form: what was said, and an answer in words and in sound, which is here the recording itself."""
    async with whole(redis_server) as system:
        data = CLIP.data if sent == "body" else form(CLIP.data, sent)
        status, answer = await post(system, data)
        assert status == 200, answer
        assert answer["success"] is True
        assert answer["transcript"].startswith("You spoke for 1.000 seconds")
        assert answer["text"] == "I heard 1.000 seconds (24000 samples)."
        audio = pybase64.b64decode(answer["audio"])
        assert audio == wav(audio[HEADER_BYTES:])
        assert correlation(as_samples(audio[HEADER_BYTES:]), libav_decode(CLIP.data)) > 0.99
        assert (answer["audio_format"], answer["mime_type"], answer["sample_rate"]) == ("wav", "audio/wav", 24_000)
        document = await system.api.document(answer["session"], has_ended)
        assert (document["door"], document["reason"]) == ("batch", "answered")
        assert said(document) == [("user", answer["transcript"]), ("assistant", answer["text"])]
        await nothing_is_left(redis)


async def test_recordings_of_every_kind_are_answered(redis_server: EmbeddedServer, redis: Redis) -> None:
    """One of each container that the transcoder takes; and raw samples, where they are declared."""
    async with whole(redis_server) as system:
        wanted = {"m4a_aac", "webm_opus", "ogg_opus", "wav_pcm_s16le", "flac", "mp3", "adts", "amr_nb"}
        for case in cases(everything=False):
            if case.recipe.name in wanted:
                status, answer = await post(system, made(case).data)
                assert (status, answer["success"]) == (200, True), (case, answer)
                wanted.discard(case.recipe.name)
        assert not wanted
        status, answer = await post(system, bytes(48_000), f"{CALL}&input_format=pcm16")
        assert (status, answer["text"]) == (200, "I heard 1.000 seconds (24000 samples).")


@pytest.mark.parametrize(
    ("query", "mime", "length"),
    [
        ("&audio_format=pcm16", "audio/pcm", 48_000),
        ("&audio_format=pcm16&output_rate=16000", "audio/pcm", 32_000),
        ("&output_rate=8000", "audio/wav", 16_000 + HEADER_BYTES),
        ("&audio_format=aac", "audio/aac", None),
        ("&audio_format=opus&bitrate=16000", "audio/ogg", None),
    ],
)
async def test_the_answer_sounds_as_it_is_asked_for(
    redis_server: EmbeddedServer, redis: Redis, query: str, mime: str, length: int | None
) -> None:
    async with whole(redis_server) as system:
        status, answer = await post(system, CLIP.data, CALL + query)
        audio = pybase64.b64decode(answer["audio"])
        assert (status, answer["mime_type"]) == (200, mime)
        if length is not None:
            assert len(audio) == length
        else:
            assert audio[:4] == b"OggS" if mime == "audio/ogg" else audio[:2] in (b"\xff\xf1", b"\xff\xf9")
            assert len(audio) < 12_000
            assert abs(len(libav_decode(audio)) - 24_000) < 2_500


async def test_callers_at_once_get_their_own_answers(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with whole(redis_server) as system:
        lengths = range(6_000, 6_000 + 8 * 480, 480)
        answers = await asyncio.gather(
            *(post(system, bytes(2 * length), f"{CALL}&input_format=pcm16&user_id=ann") for length in lengths)
        )
        assert [f"({length} samples)" in answer["text"] for length, (_, answer) in zip(lengths, answers, strict=True)] == [
            True
        ] * 8
        assert len({answer["session"] for _, answer in answers}) == 8
        await nothing_is_left(redis)


@pytest.mark.parametrize(
    ("data", "path", "status", "sentence"),
    [
        (b"", CALL, 400, "empty"),
        (b"this is no recording at all, whatever its name says", CALL, 422, ""),
        (CLIP.data[:2_000], CALL, 422, ""),
        (b"x", f"{CALL}&audio_format=mp3", 400, "mp3"),
        (b"x", f"{CALL}&user_id={'a' * 1025}", 400, "user"),
        (CLIP.data, f"{CALL}&astrologer_id=nobody", 400, "nobody"),
        (bytes(300_000), CALL, 413, "too large"),
        (form(bytes(300_000)), CALL, 413, "too large"),
        (form(b""), CALL, 400, "empty"),
        (without_recording(), CALL, 400, "no recording in the form"),
    ],
)
async def test_what_cannot_be_answered_is_told_in_a_sentence(
    redis_server: EmbeddedServer, redis: Redis, data: Any, path: str, status: int, sentence: str
) -> None:
    async with whole(redis_server, PARLEY_MAX_FILE_BYTES=200_000) as system:
        answered, body = await post(system, data, path)
        assert (answered, body["success"]) == (status, False), body
        assert sentence in body["error"]
        assert len(body["error"]) > 20
        await nothing_is_left(redis)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=audio\r\n\r\n",
        b"\x00" * 100,
        b"--b--\r\n",
        b"--b\r\n" + b"X: y\r\n" * 3000,
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n",
    ],
)
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/mixed; boundary="])
async def test_a_form_that_is_none_is_told(redis_server: EmbeddedServer, redis: Redis, body: bytes, kind: str) -> None:
    """It never hangs, and it never is a fault of ours."""
    async with (
        serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url,
        aiohttp.ClientSession() as http,
        http.post(url + CALL, data=body, headers={"Content-Type": kind}) as response,
    ):
        assert response.status == 400
        assert "error" in await response.json()


async def test_a_model_that_gives_no_answer_is_told(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with whole(redis_server, replace(FAST, reject_http=401)) as system:
        status, body = await post(system, CLIP.data)
        assert (status, body["success"]) == (502, False)
        await nothing_is_left(redis)


async def test_an_answer_that_takes_too_long_is_told_and_its_session_ends(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.doors.process_audio.ANSWER_WITHIN_S", 0.5)
    async with whole(redis_server, replace(FAST, think_s=30)) as system:
        status, body = await post(system, CLIP.data)
        assert (status, body["success"]) == (504, False)
        await nothing_is_left(redis)


async def test_nobody_free_is_told(redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.process_audio.NO_BRIDGE_S", 0.2)
    monkeypatch.setattr("gateway.doors.process_audio.ATTACH_RENEW_S", 0.1)
    async with (
        serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url,
        aiohttp.ClientSession() as http,
        http.post(url + CALL, data=CLIP.data) as response,
    ):
        assert response.status == 503
        assert "free" in (await response.json())["error"]


async def test_a_transcript_that_is_late_is_waited_for_and_no_longer(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for delay_s, within_s, is_there in ((0.1, LIMIT_S, True), (5.0, 0.3, False)):
        monkeypatch.setattr("gateway.doors.process_audio.TRANSCRIPT_WITHIN_S", within_s)
        async with whole(redis_server, replace(FAST, transcription_delay_s=delay_s, answer=words("Yes."))) as system:
            status, answer = await post(system, CLIP.data)
            assert (status, answer["text"], answer["transcript"] is not None) == (200, "Yes.", is_there)


async def test_a_caller_that_hangs_up_leaves_no_session(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with whole(redis_server, replace(FAST, think_s=30)) as system:
        asking = asyncio.create_task(post(system, CLIP.data))
        async with asyncio.timeout(LIMIT_S):
            while not system.simulator.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        asking.cancel()
        await nothing_is_left(redis)


async def test_a_gateway_that_stops_says_so(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with whole(redis_server, replace(FAST, think_s=30)) as system:
        asking = asyncio.create_task(post(system, CLIP.data))
        async with asyncio.timeout(LIMIT_S):
            while not await redis.zcard(keys.SESSIONS):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await system.stop_gateway(0)
        status, body = await asking
        assert (status, body["success"]) == (503, False)
        await nothing_is_left(redis)


async def test_it_is_admitted_as_the_mobile_app_is(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Without a token, unless all need one; with one as its user, who is told when there are too many sessions."""
    ann = mint(TOKENS, "ann", "phone", 1e9, 1e10)
    async with whole(redis_server, tokens=True) as system:
        for headers, user in (({}, "~bob"), ({"Authorization": f"Bearer {ann}"}, "ann")):
            status, answer = await post(system, CLIP.data, f"{CALL}&user_id=bob", **headers)
            assert status == 200
            assert (await system.api.document(answer["session"]))["user"] == user
        assert (await post(system, CLIP.data, Authorization="Bearer wrong"))[0] == 401
    for strict, status in (({"PARLEY_AUTH": "required"}, 401), ({"PARLEY_MAX_SESSIONS_PER_USER": 1}, 429)):
        settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, JWT_SECRET=TOKENS, **strict)
        async with serving(settings) as url, aiohttp.ClientSession() as http:
            await redis.zadd(keys.limit("sessions", "user", "ann"), {"another": 2e15})
            shown = {"Authorization": f"Bearer {ann}"} if status == 429 else {}
            async with http.post(url + CALL, data=CLIP.data, headers=shown) as response:
                assert response.status == status
                assert (await response.json())["success"] is False
