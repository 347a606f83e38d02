"""A spoken turn through everything: phone → gateway → Redis → transcoder → bridge → model, and back."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis

from streams.connection import text
from tests.acceptance.conftest import Stack
from tests.acceptance.phone import Phone, calling
from tests.contract.streams.entries import raw
from tests.media.make_media import Clip, as_samples, correlation, libav_decode, make_clip

RATES = [8_000, 16_000, 22_050, 44_100, 48_000]
BIT_RATES = [24_000, 64_000, 128_000]

FRAME = 480
"""samples of 20 ms"""

AT_ONCE = "?paced=0"
"""An answer as it is generated. At the pace of its listener the next recording, sent as soon as an echo as long as itself
was heard, would begin where the one before has ended, as slices of one speech do. On a busy machine it may all the same:
every other recording is shorter by a quarter or more, which slices are not."""


def assert_is_echo(audio: bytes, clip: Clip) -> None:
    """As long as what was recorded, to the sample, and like FFmpeg's own decode of the file."""
    samples = as_samples(audio)
    assert abs(len(samples) - clip.samples_at_24k) <= 1
    assert correlation(samples, libav_decode(clip.data)) > 0.99


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("source", ["speech_espeak", "speech_jfk"])
async def test_recordings_come_back_exactly(stack: Stack, source: str, layout: str) -> None:
    """Every rate, bit rate and layout of the file, on one connection: the echo is the recording."""
    async with calling(stack.url, f"exact-{source}-{layout}", AT_ONCE) as phone:
        for rate in RATES:
            for bit_rate in BIT_RATES:
                for moov_first in (False, True):
                    samples = rate * (2 if moov_first else 3) // 4 + 391 * BIT_RATES.index(bit_rate) + moov_first
                    clip = make_clip(
                        source, rate=rate, layout=layout, bit_rate=bit_rate, samples=samples, moov_first=moov_first
                    )
                    answer = await phone.ask(clip.data)
                    assert answer.errors == []
                    assert_is_echo(answer.audio, clip)
                    assert answer.text is not None
                    assert f"{len(answer.audio) // 2} samples" in answer.text


async def test_twenty_users_hear_themselves_alone(stack: Stack) -> None:
    """Twenty phones at once, each with another piece of speech: every echo is its own and nobody else's."""
    clips = [make_clip("speech_jfk", rate=44_100, samples=40_000 + 3_000 * n) for n in range(20)]

    async def talk(n: int) -> bytes:
        async with calling(stack.url, f"user-{n}") as phone:
            answer = await phone.ask(clips[n].data)
            assert answer.errors == []
            return answer.audio

    audio = await asyncio.gather(*(talk(n) for n in range(20)))
    for n, clip in enumerate(clips):
        assert_is_echo(audio[n], clip)


def coded(user: int, frames: int) -> NDArray[np.int16]:
    """PCM in which every 20 ms names its user and its position."""
    pcm = np.zeros((frames, FRAME), np.int16)
    pcm[:, 0] = user + 1
    pcm[:, 1] = np.arange(1, frames + 1)
    pcm[:, 2:] = np.random.default_rng(user).integers(-8_000, 8_000, (frames, FRAME - 2))
    return pcm


async def test_every_20_ms_of_declared_pcm_comes_back_to_its_user(stack: Stack) -> None:
    """Twenty users at once, three turns each: every frame once, in order, and none of anybody else."""

    async def talk(user: int) -> None:
        async with calling(stack.url, f"pcm-{user}", f"{AT_ONCE}&input_format=pcm16") as phone:
            for turn in range(3):
                frames = coded(user, (40 + 7 * user) // (1 + turn % 2) + turn)
                answer = await phone.ask(frames.tobytes())
                assert answer.errors == []
                back = np.frombuffer(answer.audio, np.int16).reshape(-1, FRAME)
                assert set(back[:, 0]) == {user + 1}
                assert list(back[:, 1]) == list(range(1, len(frames) + 1))
                assert np.array_equal(back, frames)

    await asyncio.gather(*(talk(user) for user in range(20)))


async def test_a_recording_interrupts_the_answer_that_plays(stack: Stack) -> None:
    """The first answer stops, the second is whole; the texts tell which is which."""
    first, second = make_clip(samples=44_100 * 3), make_clip("speech_jfk", samples=44_100)
    async with calling(stack.url, "interrupts") as phone:
        await phone.send(first.data)
        while (await phone.hear())["type"] != "audio_response":
            pass
        await phone.send(second.data)
        answers = [await phone.answer(), await phone.answer()]
    assert len(answers[0].audio) < 3 * 48_000
    assert_is_echo(answers[1].audio, second)


async def test_three_slices_are_one_speech(stack: Stack) -> None:
    """A client that cuts its recording every second is heard as one speech: the last answer is all of it."""
    clip = make_clip("speech_jfk", rate=24_000, samples=24_000, codec="alac")
    async with calling(stack.url, "slices") as phone:
        for _ in range(5):
            if await three_slices(phone, clip):
                break
            await asyncio.sleep(2)  # what comes then is another speech
        else:
            raise AssertionError("This machine has never let three slices arrive in time.")
        audio = b""
        async with asyncio.timeout(20):
            while len(audio) < 3 * 48_000:
                audio = (await phone.answer()).audio
    assert correlation(as_samples(audio), np.tile(libav_decode(clip.data), 3)) > 0.99


async def three_slices(phone: Phone, clip: Clip) -> bool:
    """Whether the gateway had each when it was due: slices are told from recordings by when they arrive, to 300 ms."""
    loop, is_in_time = asyncio.get_running_loop(), True
    started = loop.time()
    for n in range(3):
        due = started + n + 1
        await asyncio.sleep(max(0.0, due - loop.time()))
        await phone.send(clip.data)
        await phone.say(type="ping")
        while (await phone.hear())["type"] != "pong":
            pass  # the answer to the slices so far
        is_in_time &= loop.time() - due < 0.15
    return is_in_time


async def test_a_voice_message_of_45_s_is_answered(stack: Stack) -> None:
    """A long recording is no special case."""
    clip = make_clip("speech_jfk", rate=16_000, samples=45 * 16_000)
    async with calling(stack.url, "long", AT_ONCE) as phone:
        answer = await phone.ask(clip.data, within_s=50)
    assert answer.errors == []
    assert len(answer.audio) // 2 == 45 * 24_000
    assert_is_echo(answer.audio, clip)


REFUSED = {
    "broken": make_clip(samples=30_000).data[:9_000],
    "not audio": b"\x89PNG\r\n\x1a\n" + bytes(2_000),
    "text": b"#EXTM3U\nfile:///etc/passwd\n",
    "huge": bytes(11 << 20),
}


async def test_what_cannot_be_heard_is_refused_and_the_next_works(stack: Stack) -> None:
    """Each bad recording gets a sentence; the connection stays, and a good one is answered."""
    good = make_clip(samples=30_000)
    async with calling(stack.url, "refused") as phone:
        for name, data in REFUSED.items():
            answer = await phone.ask(data)
            assert len(answer.errors) == 1, name
            assert len(answer.errors[0]) > 20, name
        await phone.say(type="audio", audio="")
        assert (await phone.answer()).errors
        answer = await phone.ask(good.data)
        assert answer.errors == []
        assert_is_echo(answer.audio, good)


async def test_one_wav_an_answer(stack: Stack) -> None:
    """A client that asked for WAV gets each answer as one complete file."""
    clip = make_clip(samples=40_000)
    async with calling(stack.url, "wav", "?audio_format=wav") as phone:
        await phone.send(clip.data)
        message = await phone.hear()
        assert message["type"] == "audio_response"
        with wave.open(io.BytesIO(base64.b64decode(message["audio"]))) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
            assert_is_echo(file.readframes(file.getnframes()), clip)
        assert (await phone.hear())["type"] == "text_response"


async def test_a_persona_greets_on_config(stack: Stack) -> None:
    """Ack first, then a greeting; an unknown one is refused with the names of those there are."""
    async with calling(stack.url, "persona") as phone:
        await phone.say(type="config", astrologer_id="default")
        ack = await phone.hear()
        assert (ack["type"], ack["astrologer_id"]) == ("config_ack", "default")
        answer = await phone.answer()
        assert answer.audio
        await phone.say(type="config", astrologer_id="nobody")
        (error,) = (await phone.answer()).errors
        assert "default" in error


AT = "parley:at:a%20legible%3Aone:a%20legible%3Aone"


async def test_redis_cli_shows_a_live_session(stack: Stack) -> None:
    """Every key of a session has a TTL and plain field names; after the call nothing but last words is left."""
    clip = make_clip(samples=30_000)
    redis = Redis.from_url(stack.redis_url)
    try:
        async with calling(stack.url, "a%20legible%3Aone") as phone:
            await phone.ask(clip.data)
            sid = text(await redis.get(AT) or b"")
            assert sid
            assert await redis.zscore("parley:sessions", sid)
            for name in ("meta", "up", "pcm", "down", "turns", "lease", "marks"):
                assert await redis.pttl(f"parley:{{{sid}}}:{name}") > 0, name
            kinds: list[bytes] = []
            async with asyncio.timeout(10):
                while not {b"committed", b"assistant"} <= set(kinds):
                    turns = [fields for _, fields in await raw(redis, f"parley:{{{sid}}}:turns")]
                    kinds = [fields[b"kind"] for fields in turns]
            assert kinds[:2] == [b"opened", b"epoch"]
            said = next(fields for fields in turns if fields[b"kind"] == b"assistant")
            assert b"samples" in said[b"text"]
        await ended(redis, sid)
    finally:
        await redis.aclose()


async def ended(redis: Redis, sid: str) -> None:
    """Wait until the session is over: its name free, nothing to write to."""
    async with asyncio.timeout(10):
        while await redis.zscore("parley:sessions", sid) is not None:  # noqa: ASYNC110 - other processes end it
            await asyncio.sleep(0.02)
        while await redis.exists(f"parley:{{{sid}}}:lease"):  # noqa: ASYNC110 - a bridge's, that keeps it until all is done
            await asyncio.sleep(0.02)
    assert not await redis.exists(f"parley:{{{sid}}}:up", f"parley:{{{sid}}}:pcm")
    assert await redis.get(AT) is None
    assert await redis.pttl(f"parley:{{{sid}}}:down") <= 10_000


async def test_a_message_between_two_turns_is_answered_at_once(stack: Stack) -> None:
    """ping → pong, while an answer is on its way too."""
    async with calling(stack.url, "pings") as phone:
        await phone.send(make_clip(samples=60_000).data)
        await phone.say(type="ping")
        seen: list[str] = []
        while "pong" not in seen:
            seen.append((await phone.hear())["type"])
        assert await drained(phone)


async def drained(phone: Phone) -> bool:
    return bool((await phone.answer()).text)


async def test_the_readmes_client_works(stack: Stack, tmp_path: Path) -> None:
    """The program in the README, as it stands there, gets an answer."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "cli" / "media").mkdir(parents=True)
    (tmp_path / "cli" / "media" / "hello.m4a").write_bytes(make_clip(samples=30_000).data)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program.replace("ws://127.0.0.1:8000", stack.url),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert b"text_response" in out
    assert (tmp_path / "answer.pcm").stat().st_size > 20_000
