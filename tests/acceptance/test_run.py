"""`parley up` with everything real but the model: what `make run` does on a newcomer's machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.app import HELLO
from cli.talk import read_recording, talk
from tests.integration.cli.running import REPOSITORY, eventually, parley

ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY)}


def process_of(descendants: dict[int, str], module: str) -> int:
    """The process id of a service."""
    return next(pid for pid, command in descendants.items() if command.endswith(f"-m {module}"))


@contextlib.asynccontextmanager
async def simulator(*arguments: str) -> AsyncIterator[str]:
    """A simulator that is not a child of `parley up`; its base URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulator", "--port", "0", *arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[-1]
        yield url.replace("ws://", "http://").removesuffix("/realtime")
    finally:
        process.terminate()
        await process.wait()


async def test_it_answers_with_speech_and_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    """The self-check, then a turn of a stranger, then the end."""
    async with parley(["up"], tmp_path, ENVIRONMENT) as running:
        url = await running.listens()
        assert "No model is behind this" in running.output
        with wave.open(str(tmp_path / ".parley" / "answer.wav")) as answer:
            assert answer.getframerate() == 24_000
            assert answer.getnframes() / answer.getframerate() == pytest.approx(4.8, abs=0.5)
        result = await talk(read_recording(HELLO), url)
        assert result.good
        assert result.transcript
        assert result.first_audio_ms is not None
        running.signal(signal.SIGINT)
        assert await running.ends() == 0
        assert running.leaves_nothing()


async def test_an_answer_can_come_as_one_wav_file(tmp_path: Path) -> None:
    """As long as the one in pieces."""
    async with parley(["up", "--no-check"], tmp_path, ENVIRONMENT) as running:
        url = await running.listens()
        pieces, whole = await asyncio.gather(
            talk(read_recording(HELLO), url), talk(read_recording(HELLO), url, audio_format="wav")
        )
        assert pieces.good
        assert whole.good
        assert whole.received_seconds == pytest.approx(pieces.received_seconds, abs=0.1)


async def test_a_busy_port_is_one_sentence(tmp_path: Path) -> None:
    """And nothing stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with parley(["up"], tmp_path, {**ENVIRONMENT, "PORT": str(port)}) as running:
            assert await running.ends() == 1
            assert running.lines[-1].startswith(f"parley: gateway did not start: 127.0.0.1:{port} is in use")
            assert running.leaves_nothing()


async def test_a_wrong_key_is_one_sentence(tmp_path: Path) -> None:
    """The model's server says so after the connection stands; the self-check hears it at the door."""
    async with simulator("--api-key", "right") as base_url:
        environment = {**ENVIRONMENT, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "wrong"}
        async with parley(["up"], tmp_path, environment) as running:
            assert await running.ends() == 1
            assert running.lines[-1].startswith("parley: The self-check failed: ")
            assert "key" in running.lines[-1].lower()
            assert running.leaves_nothing()


@pytest.mark.parametrize("module", ["gateway", "transcoder", "realtime_bridge"])
async def test_a_killed_service_is_back_and_answers(tmp_path: Path, module: str) -> None:
    """Whichever it is."""
    async with parley(["up", "--no-check"], tmp_path, ENVIRONMENT) as running:
        url = await running.listens()
        os.kill(process_of(running.descendants(), module), signal.SIGKILL)
        await running.says(r"parley .* is back\.")
        assert (await talk(read_recording(HELLO), url)).good


async def test_killed_hard_it_leaves_nothing_running(tmp_path: Path) -> None:
    """Neither services nor their children nor the server."""
    async with parley(["up", "--no-check"], tmp_path, ENVIRONMENT) as running:
        await running.listens()
        assert len(running.descendants()) >= 5
        running.signal(signal.SIGKILL)
        await running.ends()
        await eventually(lambda: not running.descendants(), within_s=20)
