"""The tutorial's shell script, as it stands on the page: it talks, hears, loses its stream and goes on, and interrupts."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts
from simulator.options import Options
from tests.contract.doors.openai_stage import system
from tests.contract.sdks import node
from tests.tutorials.stage import TUTORIALS, run, speech, write_wav

SECRET = "a-secret-of-" * 4


def first_stream(folder: Path) -> str:
    """What it brought."""
    (heard,) = folder.glob("*/heard")
    return heard.read_text()


if shutil.which("curl") or node.is_required():

    async def test_the_script(redis_server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
        """The answer is the question's echo, to the sample, though the line broke in between."""
        question = speech(1.0)
        async with system(redis_server, Options(speed=4.0), secret=SECRET) as parley:
            lines = await run(
                "bash",
                TUTORIALS / "curl" / "talk.sh",
                write_wav(tmp_path / "question.wav", question),
                tmp_path / "answer.pcm",
                PARLEY=parley.urls[0],
                TOKEN=mint(SECRET, "ann", "script", time.time(), 60.0),
                TMPDIR=str(tmp_path),
            )
            (session,) = parley.simulator.sessions
        assert "".join(lines) == (
            f'{{"stored":1,"errors":[]}}{{"samples":{len(question)}}}{{"stored":2,"errors":[]}}'
            '{"stored":1,"errors":[]}{"ended":true}'
        )
        assert (np.fromfile(tmp_path / "answer.pcm", "<i2") == question).all()
        assert "parley.closed" not in first_stream(tmp_path), "it was cut, and told nothing"
        (truncated,) = [each for each in session.recording.client_events if each["type"] == "conversation.item.truncate"]
        assert truncated["audio_end_ms"] == 500

    SCRIPT = TUTORIALS / "curl" / "talk.sh"

    @pytest.mark.parametrize(
        ("given", "code", "sentence"),
        [
            ([], 2, "usage: talk.sh QUESTION.wav ANSWER.pcm"),
            (["nowhere.wav", "answer.pcm"], 1, "nowhere.wav"),
            (["text.wav", "answer.pcm"], 2, "text.wav is not a WAV of 24 kHz, 16 bits, mono"),
            (["good.wav", "answer.pcm"], 1, "Failed to connect to 127.0.0.1"),
        ],
    )
    async def test_what_it_cannot_use_it_names(given: list[str], code: int, sentence: str, tmp_path: Path) -> None:
        """And waits for nothing."""
        write_wav(tmp_path / "good.wav", speech(0.1))
        (tmp_path / "text.wav").write_text("This is a text, and no recording of anything.")
        arguments = [tmp_path / path for path in given]
        with HeldPorts() as ports:
            nobody = f"http://127.0.0.1:{ports.take()}"
            lines = await run("bash", SCRIPT, *arguments, code=code, PARLEY=nobody, TOKEN="", TMPDIR=str(tmp_path))
        assert sentence in " ".join(lines)

    async def test_a_wrong_token_is_said(redis_server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
        question = write_wav(tmp_path / "question.wav", speech(0.1))
        async with system(redis_server, Options(), secret=SECRET) as parley:
            how = {"PARLEY": parley.urls[0], "TOKEN": "wrong", "TMPDIR": str(tmp_path)}
            lines = await run("bash", SCRIPT, question, tmp_path / "answer.pcm", code=1, **how)
        assert lines == ["curl: (22) The requested URL returned error: 401", '{"error":"Invalid token"}']
