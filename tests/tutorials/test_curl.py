"""The tutorial's shell script, as it stands on the page: it talks, hears, loses its stream and goes on, and interrupts."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
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
