"""`parley replay` sends the user's side of a call through a door again, and says what is different."""

from __future__ import annotations

import asyncio
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from cli.errors import ReplayError
from cli.replay.call import RATE, read_call
from cli.replay.command import as_object, replay
from tests.acceptance.conftest import Stack

BURST = (np.random.default_rng(4).standard_normal(RATE) * 5000).astype("<i2")


def write(path: Path, left: np.ndarray, right: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.stack([left, right], axis=1).astype("<i2").tobytes())


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """The user spoke for a second; the model said the same again."""
    left, right = np.zeros(5 * RATE), np.zeros(5 * RATE)
    left[RATE : 2 * RATE] = right[3 * RATE : 4 * RATE] = BURST
    write(tmp_path / "audio.wav", left, right)
    line = {"ms": 3000, "type": "model.audio", "item": "i", "part": 0, "from_ms": 0, "for_ms": 1000}
    (tmp_path / "events.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "audio.wav"


@pytest.mark.timeout(40)
async def test_an_echo_comes_back_as_it_did(stack: Stack, call: Path) -> None:
    """Through each door, faster than it was said."""
    doors = ("openai", "watch", "mobile")
    for found in await asyncio.gather(*(replay(read_call(call, None), door, stack.url, speed=4.0) for door in doors)):
        told = json.loads(as_object(found))
        assert (told["user_seconds"], told["turns_then"], told["turns_now"]) == (5.0, 1, 1), told
        assert found.good
        (turn,) = found.turns
        assert turn.then_s == 1.0
        assert turn.alike is not None
        assert turn.alike > 0.9, told
        assert told["words_now"]["model"], told


def test_what_is_no_recording_of_a_call(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "mono.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(4800))
    with pytest.raises(ReplayError, match="two channels"):
        read_call(tmp_path / "mono.wav", None)
    (tmp_path / "no.wav").write_bytes(b"nothing")
    with pytest.raises(ReplayError, match="cannot be read"):
        read_call(tmp_path / "no.wav", None)


async def test_nobody_is_there(call: Path) -> None:
    with pytest.raises(ReplayError, match="could not be spoken to"):
        await replay(read_call(call, None), "openai", "ws://127.0.0.1:9", speed=20.0)
