"""The tutorial's Python client, as it stands on the page: it talks, hears, interrupts, and loses its line."""

from __future__ import annotations

import sys
import time
import wave
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.browser.stage import likeness
from tests.contract.doors.openai_stage import system
from tests.tutorials.stage import RATE, TUTORIALS, network, read_wav, run, speech, write_wav

CLIENT = TUTORIALS / "python" / "client.py"
SECRET = "a-secret-of-" * 4


async def test_it_talks_and_hears_over_a_line_that_breaks(
    redis_server: EmbeddedServer, redis: Redis, tmp_path: Path
) -> None:
    """Cut while the answer is said; with a token. The first question's answer is interrupted by the second question."""
    first, second = speech(2.0), speech(0.5)
    questions = write_wav(tmp_path / "first.wav", first), write_wav(tmp_path / "second.wav", second)
    async with (
        system(redis_server, Options(speed=2.0), secret=SECRET) as parley,
        network(parley.urls[0], cut_at=25_000) as line,
    ):
        lines = await run(
            sys.executable,
            CLIENT,
            tmp_path / "answer.wav",
            *questions,
            PARLEY=line.url.replace("http", "ws"),
            TOKEN=mint(SECRET, "ann", "script", time.time(), 60.0),
        )
        (session,) = parley.simulator.sessions
    assert [said.split()[0] for said in lines] == ["the", "gone", "I", "I"], lines
    assert line.connections == 2
    heard = read_wav(tmp_path / "answer.wav")
    assert likeness(heard, second) > 0.99
    assert likeness(heard, first[: RATE // 4]) > 0.99
    assert likeness(heard, first[-RATE // 4 :]) < 0.9, "the rest was not heard"
    (truncated,) = [event for event in session.recording.client_events if event["type"] == "conversation.item.truncate"]
    assert 0 < int(str(truncated["audio_end_ms"])) < 2_000


async def test_it_says_why_it_gives_up(redis_server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
    """One sentence of the server's, and no trace."""
    question = write_wav(tmp_path / "question.wav", speech(0.1))
    async with system(redis_server, Options(), secret=SECRET) as parley:
        url = parley.urls[0].replace("http", "ws")
        lines = await run(sys.executable, CLIENT, tmp_path / "answer.wav", question, code=1, PARLEY=url, TOKEN="")
    assert lines[-1].startswith("It is over: 3000")
    assert "Traceback" not in " ".join(lines)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "python client.py ANSWER.wav QUESTION.wav"),
        (["answer.wav", "nowhere.wav"], "nowhere.wav cannot be read: [Errno 2] No such file or directory"),
        (["answer.wav", "narrow.wav"], "narrow.wav has no sound of 24 kHz, 16 bits, mono."),
        (["answer.wav", "text.wav"], "text.wav cannot be read: file does not start with RIFF id."),
        (["answer.wav", "empty.wav"], "empty.wav cannot be read"),
        (["no/such/answer.wav", "good.wav"], "[Errno 2] No such file or directory: 'no/such/answer.wav'"),
        (["answer.wav", "good.wav"], "somewhere is no server of Parley's: somewhere"),
    ],
)
async def test_what_it_cannot_use_it_names(given: list[str], sentence: str, tmp_path: Path) -> None:
    """In a sentence, and no trace; it does not wait for anything."""
    write_wav(tmp_path / "good.wav", speech(0.1))
    with wave.open(str(tmp_path / "narrow.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(1_600))
    (tmp_path / "text.wav").write_text("This is a text.")
    (tmp_path / "empty.wav").touch()
    arguments = [tmp_path / path for path in given]
    lines = await run(sys.executable, CLIENT, *arguments, code=1, PARLEY="somewhere", TOKEN="")
    told = " ".join(lines).replace(f"{tmp_path}/", "")
    assert sentence in told
    assert "Traceback" not in told
